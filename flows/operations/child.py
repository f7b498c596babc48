"""A module as a child that ends with its parent, also where that is killed.

    python -m flows.operations.child MODULE ARGUMENT…

Left alone, a server keeps its port and a worker goes on to start runs: what was served could be neither stopped nor
served again.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time


def end_with_parent() -> None:
    """Kill this process, from a thread, as soon as its parent has gone."""
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    end_with_parent()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
