"""What serve starts ends with it, also where it is killed."""

from __future__ import annotations

import os
import signal
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


def ends(process: int) -> bool:
    until = time.monotonic() + 30
    while is_alive(process) and time.monotonic() < until:
        time.sleep(0.1)
    return not is_alive(process)


def is_alive(process: int) -> bool:
    listed = subprocess.run(["ps", "-p", str(process), "-o", "state="], capture_output=True, text=True, check=False)
    return listed.stdout.strip() not in ("", "Z")
