"""A module as a child that ends with its parent, also where that is killed.

    python -m flows.operations.child PARENT MODULE ARGUMENT…

Left alone, a server keeps its port and a worker goes on to start runs: what was served could be neither stopped nor
served again. The parent says its own process id: one that is killed before this module runs is no parent any more, and
whoever took its place would be waited for in vain.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time


def end_with_parent(parent: int | None = None) -> None:
    """Kill this process, from a thread, as soon as its parent has gone.

    Args:
        parent: its process id; by default that of whoever is the parent now.
    """
    threading.Thread(target=_watch, args=(os.getppid() if parent is None else parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
