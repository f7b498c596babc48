"""The prompt completes what can stand there, takes a statement over several lines, and survives a wrong one."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from flows.command_line.prompt import Names

END = 60
# What moves the cursor and colours the text.
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def names(cleaned):
    return Names.of(cleaned.lake)


def offered(names: Names, before: str, after: str = "") -> list[str]:
    document = Document(before + after, cursor_position=len(before))
    return [completion.text for completion in names.get_completions(document, CompleteEvent())]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("SELECT * FROM fl", "", "flags"),
        ("SELECT * FROM flags JOIN sam", "", "samples"),
        ("SELECT * FROM latest.au", "", "latest.audit"),
        ("SELECT * FROM data.", "", "data.digits"),
        ("SELECT * FROM data.", "", 'data."digits@v0002"'),
        ("SELECT su", " FROM flags", "suspicion"),
        ("SELECT f.su", " FROM flags f", "suggested_label"),
        ("SELECT flags.ra", " FROM flags", "rank"),
        ("SELECT s.label FROM flags AS f JOIN samples AS s USING (sample_id) WHERE f.p_w", "", "p_wrong"),
        ("SEL", "", "SELECT"),
        ("SELECT logi", " FROM shards", "logits"),
    ],
)
def test_what_can_stand_there_is_offered(names, before, after, expected):
    assert expected in offered(names, before, after)


def test_a_column_comes_before_the_word_of_sql_that_is_written_like_it(names):
    for after in ("", " FROM flags JOIN samples USING (run_id, sample_id)"):
        assert offered(names, "SELECT lab", after)[:1] == ["label"]
        assert "LABEL" not in offered(names, "SELECT lab", after)


@pytest.mark.parametrize(
    ("before", "after", "never"),
    [
        ("SELECT * FROM su", "", "suspicion"),
        ("SELECT f.su", " FROM flags f", "summary"),
        ("SELECT f.f", " FROM flags f", "FROM"),
        ("SELECT acc", " FROM flags", "accuracy"),
        ("SELECT nothing.f", " FROM flags", "flag"),
    ],
)
def test_what_cannot_stand_there_is_not(names, before, after, never):
    assert never not in offered(names, before, after)


class Terminal:
    """``gradsieve sql`` on a terminal of its own."""

    def __init__(self, lake: Path, home: Path) -> None:
        self.master, slave = pty.openpty()
        variables = os.environ | {"XDG_STATE_HOME": str(home), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows", "sql", "--lake", str(lake)],
            stdin=slave, stdout=slave, stderr=slave, env=variables, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.shown = ""

    def until(self, words: str) -> str:
        """What is shown up to some words, and after them nothing is taken as seen."""
        deadline = time.monotonic() + END
        while words not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self.master], [], [], 1)[0]:
                try:
                    self.shown += CODES.sub("", os.read(self.master, 65536).decode(errors="replace"))
                except OSError:
                    pytest.fail(f"it ended: {self.shown}")
        before, _, self.shown = self.shown.partition(words)
        return before + words

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())


def test_it_is_used_on_a_terminal(cleaned, tmp_path):
    terminal = Terminal(cleaned.lake, tmp_path)
    terminal.until(".quit leaves")
    terminal.until("sql>")
    terminal.type("SELECT 'an answer', count(*) + 123000000\r")
    terminal.until("...>")
    terminal.type("FROM flags\r;\r")
    terminal.until("123001445")
    terminal.until("sql>")
    terminal.type("SELECT nonsense FROM flags;\r")
    terminal.until('"nonsense" not found')
    terminal.until("sql>")
    terminal.type("SELECT 1; SELECT 77770000 + 7;\r")
    terminal.until("77770007")
    terminal.type("\\d flags\r")
    terminal.until("suggested_label")
    terminal.until("Label that is likelier.")
    terminal.type("\\d\r")
    terminal.until("main.tag_moves")
    terminal.type("half a statement\x03")
    terminal.until("sql>")
    terminal.type("\x04")
    assert terminal.process.wait(END) == 0
    assert "SELECT nonsense FROM flags;" in (tmp_path / "gradsieve" / "sql_history").read_text()


def piped(gradsieve_lake: Path, text: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows", "sql", "--lake", str(gradsieve_lake)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=END)


def test_statements_from_a_pipe_are_answered_one_by_one(cleaned):
    done = piped(
        cleaned.lake, "SELECT count(*) + 123000000 FROM flags; -- a comment; with a semicolon\nSELECT ';', 77;"
    )
    assert done.returncode == 0, done.stderr
    assert "123001445" in done.stdout
    assert "77" in done.stdout


def test_a_wrong_statement_from_a_pipe_ends_it_with_a_code(cleaned):
    done = piped(cleaned.lake, "SELECT 41 + 1; SELECT nonsense FROM flags; SELECT 43 + 1")
    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert "42" in done.stdout
    assert "44" not in done.stdout


def test_what_is_no_sql_is_said_to_be_none(cleaned):
    done = piped(cleaned.lake, "SELEKT 1;")
    assert (done.returncode, "SELEKT" in done.stderr, "Traceback" in done.stderr) == (2, True, False)
