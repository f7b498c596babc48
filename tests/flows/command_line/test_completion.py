"""What the shells themselves offer at the tab key, each where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.__main__ import main
from tasks.config import CleanConfig, CompareConfig
from tasks.scoring.detectors import DETECTORS

# What a shell is told to do with the script and the words, the last of which is being typed.
ASK = {
    "bash": 'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gradsieve; '
    'printf "%s\\n" "${{COMPREPLY[@]}}"',
    "zsh": "compdef() {{ }}; compadd() {{ shift; print -l -- $@; }}; _files() {{ }}; source {script}; "
    'words=("$@"); CURRENT=$#; _gradsieve',
    "fish": "source {script}; complete -C (string join -- ' ' $argv) | string split -f 1 \\t; true",
}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory) -> Path:
    """The script of each shell."""
    folder = tmp_path_factory.mktemp("scripts")
    for shell in ASK:
        with (folder / shell).open("w") as file:
            command = [sys.executable, "-m", "flows", "completion", shell]
            subprocess.run(command, stdout=file, check=True, timeout=60)
    return folder


def offered(shell: str, script: Path, *words: str) -> set[str]:
    """What it offers; zsh offers all, and leaves it to its user's settings which of them fit."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    ask = ASK[shell].format(script=script)
    start = {"bash": ["--norc", "-c", ask, "bash"], "zsh": ["-f", "-c", ask, "zsh"], "fish": ["-N", "-c", ask]}[shell]
    command = [shell, *start, "gradsieve", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (done.stderr, done.returncode) == ("", 0)
    return {line for line in done.stdout.splitlines() if line.startswith(words[-1])}


@pytest.mark.parametrize("shell", ASK)
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ver"], {"versions"}),
        (["versions", "ro"], {"rollback"}),
        (["clean", "--reader.kind", "p"], {"parquet"}),
        (["clean", "iris.csv", "--reader.kind", "csv", "--budget.kind", "s"], {"share"}),
        (["clean", "--detectors", "li"], {kind for kind in DETECTORS.components if kind.startswith("li")}),
        (["clean", "--reader.lab"], {"--reader.label", "--reader.labels"}),
        (["versions", "list", "--da"], {"--dataset"}),
        (["completion", "--h"], {"--help"}),
    ],
)
def test_the_tab_key_offers_what_may_stand_there(shell, scripts, words, expected):
    assert offered(shell, scripts / shell, *words) == expected


def test_behind_an_equals_sign_bash_offers_the_values_and_where_there_are_none_files(scripts):
    assert offered("bash", scripts / "bash", "clean", "--training.device", "=", "cu") == {"cuda"}
    assert "complete -o default -F _gradsieve gradsieve" in (scripts / "bash").read_text()
    assert offered("bash", scripts / "bash", "clean", "--lake", "") <= {""}


def test_every_field_of_a_form_is_an_option_that_is_offered(scripts):
    text = (scripts / "bash").read_text()
    for config in (CleanConfig, CompareConfig):
        for name in config.model_fields:
            assert f"--{name.replace('_', '-')}" in text


def test_it_says_how_it_is_used_and_refuses_another_shell(capsys):
    assert main(["completion", "--help"]) == 0
    assert "source <(gradsieve completion bash)" in " ".join(capsys.readouterr().out.split())
    assert main(["completion", "tcsh"]) == 2
