"""The README is true: its commands run, its queries answer, its tables name what there is."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from argparse import ArgumentParser, _SubParsersAction
from pathlib import Path

import duckdb
import pytest
import yaml

from flows.__main__ import application, run
from flows.command_line.switches import with_values
from tasks.catalogue.database import connect
from tasks.config import CleanConfig
from tasks.decision.budgets import BUDGETS
from tasks.gradients.kinds import GRADIENTS
from tasks.ingestion.readers import READERS
from tasks.scoring.detectors import DETECTORS

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line.startswith("gradsieve ")]


@pytest.fixture(scope="module")
def home(cleaned, tmp_path_factory):
    """A folder as a reader of the README has it: plants.csv, notes.jsonl, and a copy of the main job's lake as data."""
    import numpy as np

    home = tmp_path_factory.mktemp("reader")
    shutil.copytree(cleaned.lake, home / "data")
    generator = np.random.default_rng(0)
    rows = [(*generator.normal(3 * (i % 3), 1, 2), ("iris", "rose", "tulip")[i % 3]) for i in range(240)]
    (home / "plants.csv").write_text("width,height,species\n" + "\n".join(f"{w},{h},{s}" for w, h, s in rows))
    said = {"sport": ("the team won", "a late goal"), "food": ("a warm sauce", "bread and butter")}
    notes = [{"text": f"{said[label][i % 2]}, note {i}", "label": label} for i in range(60) for label in said]
    (home / "notes.jsonl").write_text("\n".join(map(json.dumps, notes)))
    return home


# Options of pip and docker, and one that was replaced: named where a version's changes are.
OF_OTHERS = {"--extra-index-url", "--build-arg", "--training.early-epoch"}
# Those that a fragment of a command line may belong to, the first that knows its options.
READ_BY = ("clean", "compare", "serve", "trace", "reproduce half-moons", "sql", "maintain", "versions vacuum")

# What the sentence around a fragment says besides.
BESIDE = {"--model.tuning frozen": "--model.kind transformer"}


def said() -> list[str]:
    """Whatever a reader may type: commands in blocks and in the text, and options with their values, one a line."""
    spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
    written = [line for block in blocks("(?:sh|bash|text)") for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    lines = [" ".join(line.split()) for line in (*spans, *written) if re.match(r"--[a-z]|gradsieve [a-z]+( |$)", line)]
    # One of several: each.
    several = [(line, re.search(r" ([\w|]+\|\w+)$", line)) for line in dict.fromkeys(lines)]
    return [
        line if found is None else line.replace(found[1], one)
        for line, found in several
        for one in (found[1].split("|") if found else [""])
    ]


class Prediction(application()):  # type: ignore[misc]
    """The command line as it is, but that nothing is done."""

    def cli_cmd(self) -> None:
        """Read only."""


def options(parser: ArgumentParser) -> dict[str, set[str]]:
    """Those of each command."""
    below = [action.choices for action in parser._actions if isinstance(action, _SubParsersAction)]
    found = {"": {name for action in parser._actions for name in action.option_strings}}
    for name, inner in (pair for choices in below for pair in choices.items()):
        found |= {f"{name} {rest}".strip(): names for rest, names in options(inner).items()}
    return found


KNOWN = options(with_values(Prediction).root_parser)


def named(line: str) -> set[str]:
    return set(re.findall(r"(?<!\S)--[a-z][\w.-]*", line)) - OF_OTHERS


def test_there_are_commands_and_queries_to_test():
    assert len(commands()) >= 7
    assert len(blocks("sql")) >= 10


@pytest.mark.parametrize("line", commands())
def test_a_command_runs(line, home, gradsieve):
    done = gradsieve(*shlex.split(line)[1:], cwd=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout or "--output" in line


def test_every_option_that_is_named_is_one():
    assert sorted(set().union(*map(named, said())) - set().union(*KNOWN.values())) == []


@pytest.mark.parametrize("line", [line for line in said() if len(line.split()) > 2 or (" " in line and named(line))])
def test_what_is_said_on_a_command_line_is_read_there(line):
    words = shlex.split(line)
    if words[0] != "gradsieve":
        command = next(command for command in READ_BY if named(line) <= KNOWN[command.partition(" half")[0]])
        words = ["gradsieve", *command.split(), *words, *BESIDE.get(line, "").split()]
    if {"--config", "--help", "l2,linf"} & set(words):
        pytest.skip("a file of the reader's, the help, or a detector that the README's example adds")
    assert run(Prediction, words[1:])


@pytest.mark.parametrize("query", [query for query in blocks("sql") if "shards" in query])
def test_a_query_over_gradients_answers(query, cleaned):
    with connect(cleaned.lake) as db:
        assert db.execute(query).fetchall()


@pytest.mark.parametrize("query", [query for query in blocks("sql") if "shards" not in query])
def test_a_query_answers_without_gradsieve(query, cleaned):
    with duckdb.connect(str(cleaned.lake / "catalogue.duckdb"), read_only=True) as db:
        assert db.execute(query).fetchall()


def test_the_tables_of_detectors_and_budgets_name_what_there_is():
    section = README[README.index("## Detectors") : README.index("## With Prefect")]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = {kind for row in rows for kind in re.findall(r"`(\w+)`", row)}
    assert named == set(DETECTORS.parts)
    for kind in BUDGETS.parts:
        assert f"`{kind}`" in section or f"--budget.kind {kind}`" in section


def test_the_configuration_is_a_configuration():
    for block in blocks("yaml"):
        assert CleanConfig.model_validate(yaml.safe_load(block)).name in ("plants", "notes", "answers")


def test_a_training_script_reads_the_live_version(home, monkeypatch):
    (code,) = [code for code in blocks("python") if "LiveDataset" in code]
    monkeypatch.chdir(home)
    names: dict = {}
    exec(code, names)  # noqa: S102  the README's own
    x, y = names["train"][0]
    assert (tuple(x.shape), len(names["train"]) > 1000, 0 <= y < 10) == ((1, 8, 8), True, True)


def test_the_example_of_a_detector_is_one(tmp_path, monkeypatch):
    import numpy as np

    from tasks.core.plugins import Registry

    (code,) = [code for code in blocks("python") if "Detector" in code]
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / "__init__.py").write_text("")
    (tmp_path / "added" / "linf.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    from tasks.scoring.detectors import Detector

    class Shown:
        gradients = property(lambda self: self)

        def __len__(self) -> int:
            return 2

        def blocks(self):
            yield np.array([1, 0]), np.array([[3.0, -6.0], [2.0, 2.0]])

    part = Registry("added", Detector).parts["linf"]
    assert part().score(Shown()).tolist() == [2.0, 6.0]


def test_the_table_of_stages_is_the_flow():
    table = README.partition("## The stages")[2].partition("|---|")[2].partition("\n\n")[0]
    stages = re.findall(r"^\| (\w+) \|", table, flags=re.M)
    flow = (REPOSITORY / "flows" / "clean.py").read_text().partition("with Run.start(")[2]
    calls = re.findall(r"\.map\(\s*(\w+),|(?<![.\w])(\w+)\(", re.sub(r"DatasetLock\(.*?\)|workers\(.*?\)", "", flow))
    # Who is asked for a review comes before the verb.
    called = dict.fromkeys({"reviewed": "review"}.get(name, mapped or name) for mapped, name in calls)
    assert stages == [name for name in called if (REPOSITORY / "tasks" / f"{name}.py").is_file()]


def test_the_table_of_readers_names_every_reader():
    table = README.partition("| `--reader.kind`")[2].partition("\n\n")[0]
    named = {kind for row in table.splitlines()[2:] for kind in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(READERS.parts)


def test_the_table_of_gradients_names_every_kind():
    table = README.partition("| `--gradient.kind`")[2].partition("\n\n")[0]
    assert {row.split("`")[1] for row in table.splitlines()[2:]} == set(GRADIENTS.parts)


def test_the_files_of_the_stages_are_in_the_run_folder(cleaned):
    section = README.partition("## The stages")[2].partition("\n## ")[0]
    for pattern in re.findall(r"`([\w*/]+\.(?:parquet|pt|arrow|yaml|json))`", section):
        assert list(cleaned.run_folder.glob(pattern)), pattern


def test_ci_runs_the_readmes_test_command():
    script = (REPOSITORY / ".ci" / "run").read_text()
    pattern = re.search(r"/\^(python3 .*?)\$/p", script)
    assert pattern
    setups = re.findall(r"^python3 -m venv .*$", README, flags=re.M)
    assert [line.rpartition("&& ")[2] for line in setups] == [".venv/bin/gradsieve clean", ".venv/bin/pytest"]
    assert [line for line in README.splitlines() if re.fullmatch(pattern[1], line)] == setups[1:]
