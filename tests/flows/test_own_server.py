"""The temporary Prefect server of a run: sooner than Prefect's own, gone with its run, and told of in words."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from environments import environment_of_a_command

HOME = str(Path(__file__).resolve().parents[2])

RUN = """
import os, sys
from flows.command_line.own_server import ServerOfRun

def run():
    from prefect import flow, runtime, task

    @task
    def step():
        return runtime.flow_run.ui_url

    @flow
    def nothing():
        print(step(), flush=True)
        return "done"

    return nothing()

print(ServerOfRun().call(run), os.environ["PREFECT_API_URL"], flush=True)
print(any(name.startswith("prefect.server") for name in sys.modules), flush=True)
sys.stdin.read()
"""
LOST = """
import httpx
from flows.command_line.own_server import NoServer, ServerOfRun

try:
    ServerOfRun().call(lambda: "never")
except NoServer as error:
    print(error)
"""

THREAD = """
import threading
thread = threading.Thread(target=threading.Event().wait, daemon=True)
thread.start()
"""


@pytest.fixture
def environment(tmp_path):
    quiet = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL", "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL"}
    own = {"PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": HOME, "DO_NOT_TRACK": "1"}
    return environment_of_a_command(**quiet, **own)


def answers(url):
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def test_a_run_is_told_to_a_server_that_no_client_imports_and_that_goes_with_a_killed_run(environment, tmp_path):
    command = [sys.executable, "-c", RUN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as run:
        try:
            page = run.stdout.readline().strip()
            answer, url = run.stdout.readline().split()
            imports = run.stdout.readline().strip()
            assert (answer, imports) == ("done", "False")
            assert not page.startswith("http")
            assert answers(url)
        finally:
            run.send_signal(signal.SIGKILL)
    until = time.monotonic() + 30
    while answers(url) and time.monotonic() < until:
        time.sleep(0.1)
    assert not answers(url)
    # It wrote down what it had heard, and took nobody's time to list types of blocks.
    with closing(sqlite3.connect(tmp_path / "prefect" / "prefect.db")) as database:
        written = "SELECT count(*) FROM task_run WHERE state_type = 'COMPLETED'"
        while database.execute(written).fetchone() != (1,) and time.monotonic() < until:
            time.sleep(0.1)
        assert database.execute(written).fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM block_type").fetchone() == (0,)


MAY_FORK = """
import multiprocessing, signal, sys
from flows.operations.temporary_server import _may_fork
found = [_may_fork(3), _may_fork(2)]
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
found.append(_may_fork(3))
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
multiprocessing.current_process()._config["daemon"] = True
found.append(_may_fork(3))
multiprocessing.current_process()._config["daemon"] = False
kept, sys.stderr = sys.stderr, None
found.append(_may_fork(3))
sys.stderr = kept
print(found)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere none is forked")
def test_none_is_forked_whose_end_or_words_would_not_be_known(environment):
    """Of descriptors 0 to 2, ended children that nobody is told of, a daemonic process, and no standard error."""
    done = subprocess.run([sys.executable, "-c", MAY_FORK], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[True, False, False, False, False]"


@pytest.mark.parametrize("way", ["forked", "spawned"])
def test_a_server_that_does_not_come_up_is_tried_twice_and_told_of(environment, tmp_path, way):
    """A fork has no threads but its own: of a process that has others none is made. Nor is one without Linux."""
    (tmp_path / "uvicorn.py").write_text(
        "import sys\n"
        "way = 'forked' if 'flows.command_line.own_server' in sys.modules else 'spawned'\n"
        "raise SystemExit(f'no {way} server today')"
    )
    environment["PYTHONPATH"] += os.pathsep + str(tmp_path)
    script = LOST if way == "forked" else THREAD + LOST
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines().count(f"no {way} server today") == 2, done.stderr
    assert f"its end with exit code 1: no {way} server today; once more" in done.stderr
    assert "the temporary Prefect server of this run" in done.stdout
    assert "busy" not in done.stdout
    assert str(tmp_path / "prefect") in done.stdout, "the home that it says to look at"


def test_a_server_that_is_too_slow_is_told_apart_from_one_that_ended(environment, tmp_path):
    (tmp_path / "uvicorn.py").write_text("import time; time.sleep(60)")
    environment["PYTHONPATH"] += os.pathsep + str(tmp_path)
    environment["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "1"
    done = subprocess.run([sys.executable, "-c", LOST], env=environment, capture_output=True, text=True, check=False)
    assert "none; this machine may be busy; once more" in done.stderr, done.stderr
    assert "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS" in done.stdout


def test_a_named_server_that_does_not_answer_is_told_by_its_address(environment):
    environment |= {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
    script = LOST.replace('"never"', 'httpx.get("http://127.0.0.1:9/api/health")')
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert "the Prefect server at http://127.0.0.1:9/api" in done.stdout, done.stderr
