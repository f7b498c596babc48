"""``python -m flows`` without the wait: everything is imported once, and each command is a child forked from there.

A command's own seconds are mostly those in which Prefect, torch and scikit-learn are imported. What a test gets is a
process of its own all the same: with arguments, a folder, an environment, two streams and an exit code.

Started as ``nursery.py FOLDER``, it listens there on two sockets: ``ours`` has the repository's code imported already,
of ``other`` a child imports its code itself, from the folder it is to run in. A command is a connection: arguments,
folder and environment in one line of JSON, beside it the two streams' descriptors; the answer is the exit code.

With a ``module`` in that line the child is ``python -m MODULE``, with a ``script`` it is ``python -c SCRIPT``. A worker
that is told ``python nursery_call.py FOLDER MODULE`` as the command of its runs has them here too, and what is started
by ``FOLDER/python`` starts its own children from here. A command ends with whoever waits for it, as a run does with its
worker.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import shlex
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path

Main = Callable[[list[str]], int]
# What a run imports of others when it comes to it.
LIBRARIES = (
    "PIL.BmpImagePlugin", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "anyio._backends._asyncio", "duckdb",
    "fastapi", "httpx", "jinja2", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg",
    "matplotlib.figure", "prefect", "prefect.artifacts", "prefect.events", "prefect.flow_engine", "prefect.flows",
    "prefect.futures", "prefect.input", "prefect.main", "prefect.server.api.server", "prefect.states",
    "prefect.task_engine", "prefect.task_runners", "prefect.utilities.visualization", "prefect_dask", "pyarrow.acero",
    "pyarrow.dataset", "pyarrow.parquet", "pydantic_settings", "rich.progress", "scipy.stats",
    "sklearn.datasets.data", "sklearn.datasets.descr", "sklearn.ensemble", "sklearn.neighbors", "torch", "torch.func",
    "yaml",
)  # fmt: skip
# prepare_prefect's, of a quiet run whatever its lake is: Prefect reads them when it is imported.
SETTINGS = {
    # Of a server, which has it from its import on: that of tests/flows/conftest.py.
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "3",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "gradsieve",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
}
# Commands that begin with prepare_prefect.
FLOWS = {"clean", "compare"}


def command() -> Main:
    """Import the command line, ready to be called once in each child."""
    from prefect.context import refresh_global_settings_context

    from flows.command_line import foreground

    prepared = foreground.prepare_prefect

    def prepare_prefect(lake: Path, *, verbose: bool) -> None:
        prepared(lake, verbose=verbose)
        # Elsewhere Prefect is imported only now.
        refresh_global_settings_context()

    foreground.prepare_prefect = prepare_prefect
    import flows.__main__
    import flows.command_line.application  # which main imports only when it is called

    # Where processes are spawned, they are told what python -m would tell them.
    sys.modules["__main__"] = flows.__main__
    return flows.__main__.main


def work(main: Main | None, asked: dict, streams: list[int]) -> int:
    """Be the command; its exit code."""
    for stream, descriptor in enumerate(streams, 1):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    from prefect.context import refresh_global_settings_context

    # Imported with the nursery's own settings; a command may be given others, another server's address above all. Those
    # of a flow are read once more by prepare_prefect.
    if not {*asked.get("arguments", [])[:1]} & FLOWS:
        refresh_global_settings_context()
    # As python -m and -c have it; ours has the repository's code imported all the same.
    sys.path.insert(0, asked["folder"])
    if "executable" in asked:
        # By which what it starts comes from here as well; and its streams may be pipes, where the nursery's are files.
        sys.executable = asked["executable"]
        # Prefect stops itself by it; in the background of a shell it is ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
    if module := asked.get("module"):
        return work_as(module, asked["arguments"])
    if script := asked.get("script"):
        exec(script, {"__name__": "__main__"})  # noqa: S102  a test's own
        return 0
    sys.argv = ["gradsieve", *asked["arguments"]]
    if main is None:
        main = command()
    return main(asked["arguments"])


def work_as(module: str, arguments: list[str]) -> int:
    """Be ``python -m module``, Prefect or one that ends in it; its exit code."""
    from prefect.logging.configuration import setup_logging

    # The nursery's own is as quiet as a command; a worker's runs say what they do.
    setup_logging(incremental=False)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def end(code: int) -> None:
    """End as a process does, with its threads and what it registered for its end; no object is freed one by one."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _is_reaped() -> bool:
    """Whether a child that has ended was there to be waited for."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def serve(listening: socket.socket, main: Main | None) -> None:
    """Fork for whoever connects, for ever."""
    assert threading.active_count() == 1, threading.enumerate()  # who forks must be alone
    # A child's first collection would look at all that was imported, and so copy its pages.
    gc.freeze()
    while True:
        connection, _ = listening.accept()
        # Those who waited for earlier commands: what they took is counted as ours then, and can be measured.
        while _is_reaped():
            pass
        if os.fork():
            connection.close()
            continue
        listening.close()
        line, streams, _, _ = socket.recv_fds(connection, 1 << 20, 2)
        while not line.endswith(b"\n"):
            line += connection.recv(1 << 20)
        child = os.fork()
        if child == 0:
            connection.close()
            end(work(main, json.loads(line), streams))
        for descriptor in streams:
            os.close(descriptor)
        end_with(connection, child)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with suppress(OSError):
            connection.sendall(str(code).encode())
        os._exit(0)


def end_with(connection: socket.socket, child: int) -> None:
    """Wait for the end of a child, pass on signals to it, and kill it should whoever waits for it go first."""
    if hasattr(os, "pidfd_open"):
        ended = os.pidfd_open(child)
        while ended not in select.select([ended, connection], [], [])[0]:
            number = connection.recv(1)
            os.kill(child, number[0] if number else signal.SIGKILL)
            if not number:
                return


def listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(64)
    return listening


if __name__ == "__main__":
    home = Path(sys.argv[1])
    os.environ.update(SETTINGS)
    # The script's own folder.
    del sys.path[0]
    for name in LIBRARIES:
        importlib.import_module(name)
    # At its end a process of PyTorch's takes its operators back one by one.
    for each in weakref.finalize._registry:  # type: ignore[attr-defined]
        if (alive := each.peek()) and alive[1].__module__ == "torch.library":
            each.atexit = False
    python = home / "python"
    call = shlex.join([sys.executable, "-S", str(Path(__file__).with_name("nursery_call.py")), str(home)])
    itself = shlex.quote(sys.executable)
    python.write_text(f'#!/bin/sh\ncase "$1" in -m) exec {call} "$@" ;; *) exec {itself} "$@" ;; esac\n')
    python.chmod(0o755)
    other, ours = listen(home / "other"), listen(home / "ours")
    if os.fork() == 0:
        assert not {"flows", "tasks"} & sys.modules.keys()  # it is to be the other code's
        ours.close()
        # Who waits for ``ready`` is to see the end of the other one, should its imports fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        serve(other, None)
    other.close()
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main = command()
    for name in ("clean", "compare", "maintain"):
        importlib.import_module(f"flows.{name}")
    for module in pkgutil.walk_packages(importlib.import_module("tasks").__path__, "tasks."):
        importlib.import_module(module.name)
    from tasks.pipeline.cache_keys import code_digest
    from tasks.report.templates import templates

    # A template is compiled when it is first asked for.
    for name in templates().list_templates(["j2"]):
        templates().get_template(name)

    # Sources that are read and parsed for a run's cache keys are kept, by their time of change.
    code_digest([name for name in sys.modules if name.partition(".")[0] in ("flows", "tasks")])
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        main(["--help"])
    print("ready", flush=True)
    serve(ours, main)
