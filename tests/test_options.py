"""Every option of clean stands in a README, and there are few of them."""

from pathlib import Path

import pytest
from options_table import options, table, written

ROOT = Path(__file__).parents[1]
FOLDERS = ("", "data", "deployments", "tasks", "tasks/ingestion", "tests/benchmarks")
READMES = [path for folder in FOLDERS if (path := ROOT / folder / "README.md").exists()]
MOST = 150


def test_the_table_of_options_is_what_the_parser_has():
    assert written() == table(), "python -m tests.support.options_table writes it anew"


@pytest.mark.parametrize("name", [option.name for option in options()])
def test_an_option_is_named_in_a_readme(name):
    assert any(f"{name}`" in path.read_text(encoding="utf-8") for path in READMES)


def test_there_are_no_more_options_than_a_person_looks_through():
    assert len(options()) <= MOST


def test_each_option_says_what_it_is():
    assert [option.name for option in options() if len(option.words) < 6] == []
