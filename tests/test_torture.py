"""The short form of tests/benchmarks/torture: a draw of each kind of trial, all of it survived."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.torture.faults import library

REPOSITORY = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(library() is None, reason="needs Linux and a C compiler")


@pytest.mark.timeout(600)
def test_what_is_killed_refused_damaged_or_done_at_once_is_the_same_afterwards(tmp_path):
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "tests.benchmarks.torture", "--output", str(told)]
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    scores = json.loads(told.read_text())["scores"]
    assert set(scores) == {"crash", "errors of the disk", "corruption", "concurrency", "determinism"}
    # Every operation was killed and then done again, in every way; each error struck; in no part was nothing tried.
    assert {"tag", "rollback", "vacuum", "publish", "promote", "index", "record", "maintain"} <= set(scores["crash"])
    assert {harm for score in scores["crash"].values() for harm in score["outcomes"]} == {"kill", "torn", "cut"}
    assert set(scores["errors of the disk"]) == {"ENOSPC", "EROFS", "EDQUOT", "EACCES", "EIO", "short"}
    for kinds in scores.values():
        assert sum(score["tried"] for score in kinds.values()) > 0
        assert all(score["tried"] == score["survived"] for score in kinds.values())
