"""The workers that a flow's mapped tasks run on. Plumbing like step.py: the one other place in tasks/ for Prefect."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from prefect import Task, unmapped
from prefect.futures import PrefectFutureList
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner
from prefect.utilities.callables import get_call_parameters

from tasks.core.errors import BadConfig
from tasks.core.runner import Runner
from tasks.pipeline.artefacts import Artefact

# Dask's workers give memory back from 64 KiB on and map every larger array anew: page faults took half the time.
# These are the most that glibc itself goes up to where nobody sets them.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": 2**26, "MALLOC_MMAP_THRESHOLD_": 2**25}


class each(list[Any]):  # noqa: N801  read as a word: pool.map(train, run, plan, each(folds))
    """Marks the argument of a mapped task that is another for each of its runs."""


class Workers:
    """Maps tasks over a started task runner."""

    def __init__(self, runner: TaskRunner[Any]) -> None:
        self._runner = runner

    def map(self, task: Task[..., Any], *arguments: Any) -> PrefectFutureList[Artefact]:
        """One task run for each element of the arguments marked ``each``; the others are the same for all.

        (Prefect has it the other way round: every list is mapped that is not marked ``unmapped``.)
        """
        values = [list(value) if isinstance(value, each) else unmapped(value) for value in arguments]
        return self._runner.map(task, get_call_parameters(task.fn, tuple(values), {}))


@contextmanager
def workers(runner: Runner) -> Iterator[Workers]:
    """Start what the runner says, and stop it at the end.

    Raises:
        BadConfig: its extra is not installed, or no cluster answers at its address.
    """
    try:
        task_runner = _runner_of(runner)
    except ImportError as error:
        raise BadConfig(
            where=f"option runner.kind {runner.kind}",
            expected=f"prefect-{runner.kind}",
            got=str(error),
            do=f"pip install -e '.[{runner.kind}]', or choose threads or processes.",
        ) from error
    with ExitStack() as stop:
        if runner.kind != "threads":
            stop.enter_context(_address_of_server())
        try:
            active_runner = stop.enter_context(task_runner)
        except OSError as error:
            raise BadConfig(
                where="option runner.address",
                expected=f"a running {runner.kind} cluster" if runner.address else f"{runner.kind} to start here",
                got=f"{runner.address or ''} ({str(error).partition(chr(10))[0]})",
                do="Check the address, or leave it out to start one here.",
            ) from error
        yield Workers(active_runner)


@contextmanager
def _address_of_server() -> Iterator[None]:
    """Settings, which worker processes are sent, that name the server of this flow, where that is a temporary one.

    Without an address each process would start a temporary server of its own.
    """
    with ExitStack() as stop:
        if not PREFECT_API_URL.value():
            from prefect.server.api.server import SubprocessASGIServer

            server = SubprocessASGIServer()
            if server.running:
                stop.enter_context(temporary_settings({PREFECT_API_URL: server.api_url}))
        yield


def _runner_of(runner: Runner) -> TaskRunner[Any]:
    half = max(1, (os.cpu_count() or 2) // 2)
    match runner.kind:
        case "threads":
            # Threads share one device and one torch; the heavy stages take turns on it (tasks/core/devices.py).
            return ThreadPoolTaskRunner(max_workers=runner.workers or 4)
        case "processes":
            return ProcessPoolTaskRunner(max_workers=runner.workers or half)
        case "dask":
            import dask.config
            from prefect_dask.task_runners import DaskTaskRunner

            dask.config.set({f"distributed.nanny.pre-spawn-environ.{name}": size for name, size in _MALLOC.items()})
            local = {"n_workers": runner.workers or half, "threads_per_worker": 1, "dashboard_address": None}
            return DaskTaskRunner(address=runner.address) if runner.address else DaskTaskRunner(cluster_kwargs=local)
        case "ray":
            from prefect_ray.task_runners import RayTaskRunner

            local = {"num_cpus": runner.workers or half, "include_dashboard": False}
            return RayTaskRunner(address=runner.address) if runner.address else RayTaskRunner(init_kwargs=local)
