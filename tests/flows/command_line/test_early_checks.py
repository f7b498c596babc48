"""A mistake in the source, the base or the lake is told before anything is started."""

import sys

import pytest

from flows.__main__ import main


@pytest.fixture
def fruit(tmp_path):
    rows = [f"{i * i},{i % 7},{'xy'[i % 2]}" for i in range(60)]
    (tmp_path / "fruit.csv").write_text("\n".join(["weight;length,sugar,kind", *rows]))
    (tmp_path / "lake").mkdir()
    return tmp_path


MISTAKES = {
    "no file": (["nofruit.csv", "--reader.label", "kind"], "no such file or folder"),
    "no such column": (["fruit.csv", "--reader.label", "kinds"], "Did you mean --reader.label kind?"),
    "another delimiter": (
        ["fruit.csv", "--reader.label", "kind", "--reader.delimiter", ";"],
        "expected a column 'kind'",
    ),
    "no such base": (["fruit.csv", "--reader.label", "kind", "--base", "fruit-1"], "a recorded run's id"),
    "a lake that is a file": (
        ["fruit.csv", "--reader.label", "kind", "--lake", "fruit.csv"],
        "Name another with --lake",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_it_is_told_without_a_server_and_leaves_nothing(fruit, monkeypatch, capsys, mistake):
    arguments, words = MISTAKES[mistake]
    monkeypatch.chdir(fruit)
    monkeypatch.setitem(sys.modules, "flows.clean", None)  # the flow, and Prefect with it, is not to be imported
    lake = [] if "--lake" in arguments else ["--lake", "lake"]
    assert main(["clean", *arguments, *lake]) != 0
    assert words in capsys.readouterr().err
    assert list((fruit / "lake").iterdir()) == []
