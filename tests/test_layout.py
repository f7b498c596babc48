"""The house: what stands at its top, what is installed, and that nothing is a drawer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import flows
import tasks

REPOSITORY = Path(__file__).resolve().parents[1]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [Path(line) for line in listed.stdout.splitlines()]


def test_the_top_level_is_what_its_user_fixed():
    top = {path.parts[0] for path in tracked() if not path.parts[0].startswith(".")}
    assert top == {"pyproject.toml", "README.md", "flows", "tasks", "tests", "deployments", "data"}


def test_both_packages_are_the_ones_in_this_repository():
    assert Path(flows.__file__).parent == REPOSITORY / "flows"
    assert Path(tasks.__file__).parent == REPOSITORY / "tasks"


def test_no_file_is_a_drawer():
    drawers = {"util", "utils", "helper", "helpers", "common", "misc"}
    assert [path for path in tracked() if path.stem in drawers or drawers & set(path.parts)] == []


def test_a_verb_is_a_file_with_one_task_of_its_name():
    from prefect import Task

    verbs = [
        "ingest",
        "plan",
        "vote",
        "plant",
        "train",
        "examine",
        "extract",
        "score",
        "flag",
        "drift",
        "trace",
        "review",
        "halve",
        "retrain",
        "verify",
        "record",
        "publish",
        "promote",
        "index",
        "report",
        "measure",
        "tabulate",
        "present",
        "tidy",
    ]
    for verb in verbs:
        module = __import__(f"tasks.{verb}", fromlist=[verb])
        made = [name for name, value in vars(module).items() if isinstance(value, Task)]
        assert made == [verb]
