"""The house: what stands at its top, what is installed, and that nothing is a drawer."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import grimp

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


def test_no_file_of_the_code_is_longer_than_three_hundred_lines_and_flows_read_downward():
    lines = {path: len((REPOSITORY / path).read_text().splitlines()) for path in tracked() if path.suffix == ".py"}
    assert [path for path, count in lines.items() if count > 300 and path.parts[0] in ("flows", "tasks")] == []
    assert lines[Path("flows/clean.py")] <= 60
    assert lines[Path("flows/compare.py")] <= 35


def test_a_step_is_imported_by_the_table_of_steps_and_by_flows_alone():
    graph = grimp.build_graph("flows", "tasks")
    steps = graph.find_modules_that_directly_import("tasks.pipeline.step")
    assert len(steps) > 20
    for step in steps:
        others = graph.find_modules_that_directly_import(step) - {"tasks.steps"}
        assert {name for name in others if not name.startswith("flows.")} == set(), step


def test_the_table_of_steps_names_every_prefect_task():
    from prefect import Task

    from tasks import steps

    graph = grimp.build_graph("flows", "tasks")
    made = graph.find_modules_that_directly_import("tasks.pipeline.step")
    for name in sorted(made):
        module = importlib.import_module(name)
        tasks_of = [value for value in vars(module).values() if isinstance(value, Task)]
        assert len(tasks_of) == 1, name
    listed = {value.fn.__module__ for value in vars(steps).values() if isinstance(value, Task)}
    # A review is asked for by the flow itself, in words around its task.
    assert made - listed == {"tasks.decision.review"}


def test_the_command_line_starts_without_what_takes_long_to_import():
    code = (
        "import sys, flows.command_line.application; "
        "print([m for m in ('prefect', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
