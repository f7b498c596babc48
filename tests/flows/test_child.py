"""What serve starts ends with it, also where it is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

PARENT = """
import os, subprocess, sys
command = [sys.executable, "-um", "flows.operations.child", str(os.getpid()), "http.server", "0", "--bind", "127.0.0.1"]
child = subprocess.Popen(command)
print(child.pid, flush=True)
child.wait()
"""

WORKER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-um", "flows.operations.run_engine"])
print(child.pid, flush=True)
child.wait()
"""


def test_a_child_keeps_its_arguments_and_ends_with_a_parent_that_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    # http.server names the port it listens on: the module runs, with its arguments.
    assert "Serving HTTP on 127.0.0.1 port" in parent.stdout.readline()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert ends(child)


def test_a_child_whose_parent_has_gone_before_it_begins_ends_too():
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.replace("child.wait()", "")], stdout=subprocess.PIPE, text=True
    )
    # It ends within a millisecond of the child's start, which takes a hundred to look for it.
    told, _ = parent.communicate(timeout=30)
    assert ends(int(told.splitlines()[0]))


def test_a_run_whose_worker_is_killed_while_it_asks_whose_it_is_ends_too(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        about = {"PREFECT__WORKER_NAME": "gradsieve serve on here (1), worker-1", "PREFECT_HOME": str(tmp_path)}
        about |= {"PREFECT_API_URL": f"http://127.0.0.1:{mute.getsockname()[1]}/api", "PREFECT__FLOW_RUN_ID": "any"}
        command = [sys.executable, "-c", WORKER]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | about)
        assert worker.stdout is not None
        run = int(worker.stdout.readline())
        mute.settimeout(30)
        connection, _ = mute.accept()
        with connection:
            worker.kill()
            worker.wait()
            # An answer takes half a minute of patience; this is less.
            assert ends(run, 10)


def ends(process: int, seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while is_alive(process) and time.monotonic() < until:
        time.sleep(0.1)
    return not is_alive(process)


def is_alive(process: int) -> bool:
    listed = subprocess.run(["ps", "-p", str(process), "-o", "state="], capture_output=True, text=True, check=False)
    return listed.stdout.strip() not in ("", "Z")
