"""Runs of one dataset go one after another; who dies or waits for a person is in nobody's way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tasks.pipeline.artefacts import Run
from tasks.pipeline.dataset_lock import DatasetLock

HOLD = """
import sys, time
from pathlib import Path
from tasks.pipeline.artefacts import Run
from tasks.pipeline.dataset_lock import DatasetLock
with DatasetLock(Run.start(Path(sys.argv[1]), "pets"), "pets"):
    print("mine", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path) -> Run:
    return Run.start(tmp_path, "pets")


def in_a_thread(run: Run, dataset: str) -> tuple[threading.Thread, threading.Event]:
    """Another run that wants a turn; set when it has had it."""
    had = threading.Event()

    def work() -> None:
        with DatasetLock(run, dataset):
            had.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, had


def test_another_run_of_the_dataset_waits_and_says_so(run, caplog):
    with caplog.at_level("INFO", "gradsieve"), DatasetLock(run, "pets"):
        thread, had = in_a_thread(run, "pets")
        assert not had.wait(1)
    thread.join(10)
    assert had.is_set()
    assert [r.message for r in caplog.records] == [f"{run.run_id} waits for its turn: another run of pets is at work"]


def test_runs_of_other_datasets_do_not_wait(run):
    with DatasetLock(run, "pets"):
        assert in_a_thread(run, "plants")[1].wait(5)


def test_while_a_person_is_waited_for_others_have_their_turn(run):
    with DatasetLock(run, "pets") as lock:
        with lock.given_up():
            thread, had = in_a_thread(run, "pets")
            assert had.wait(5)
            thread.join(5)
        assert not in_a_thread(run, "pets")[1].wait(1)


def test_a_failure_ends_a_turn(run):
    with pytest.raises(RuntimeError), DatasetLock(run, "pets"):
        raise RuntimeError
    assert in_a_thread(run, "pets")[1].wait(5)


def test_who_is_killed_is_in_nobodys_way(run):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run.lake)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        _, had = in_a_thread(run, "pets")
        assert not had.wait(1)
        os.kill(other.pid, signal.SIGKILL)
        began = time.monotonic()
        assert had.wait(5)
        assert time.monotonic() - began < 5
