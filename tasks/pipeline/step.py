"""The decorators of steps: Prefect tasks, cached by content or never, retried where an I/O error deserves it.

A step imports its kernels when it runs, inside the function: importing torch and scikit-learn costs about three
seconds, which a run that recomputes nothing should not pay. The cache key sees those imports all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

import httpx
from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from tasks.core.memory import give_back
from tasks.pipeline.assets import makes
from tasks.pipeline.cache_keys import content_key

A = ParamSpec("A")
R = TypeVar("R")

# Errors of a busy or remote disk that pass by themselves, and of a Prefect server that is begun again: whoever makes an
# artifact asks it for the first time, for which Prefect has no patience. A full disk or a missing file does not pass.
_TRANSIENT = (TimeoutError, ConnectionError, BlockingIOError, InterruptedError, httpx.TransportError)


def _release_memory(_task: Any, _task_run: Any, _state: Any) -> None:
    give_back()


_COMMON: dict[str, Any] = {"retries": 3, "retry_delay_seconds": [1, 10, 30], "on_completion": [_release_memory]}


def _transient(_task: Any, _task_run: Any, state: Any) -> bool:
    try:
        state.result()
    except _TRANSIENT:
        return True
    except BaseException:  # noqa: BLE001  the question is only which kind it is; Prefect re-raises it
        return False
    return False


def _decorator(asset: str | None) -> Callable[..., Any]:
    """Prefect's decorator of tasks, or of those that make an asset."""
    return task if asset is None else partial(makes, asset)


def step(run_name: str, asset: str | None = None) -> Callable[[Callable[A, R]], Task[A, R]]:
    """Make a step of a function whose first parameter is the ``Run`` and whose result is an ``Artefact``.

    Args:
        run_name: the task run's name as the Prefect UI shows it; ``{parameter}`` is filled in.
        asset: what it makes of a dataset, as Prefect's assets call it (see assets.py).
    """

    def decorate(function: Callable[A, R]) -> Task[A, R]:
        return _decorator(asset)(
            name=function.__name__,
            task_run_name=run_name,
            cache_key_fn=content_key,
            persist_result=True,
            result_serializer="json",
            cache_result_in_memory=False,
            retry_condition_fn=_transient,
            **_COMMON,
        )(function)

    return decorate


def act(run_name: str, asset: str | None = None) -> Callable[[Callable[A, R]], Task[A, R]]:
    """Make a step of a function that works on what outlives the run: a store, a tag.

    Never cached, for others work on it too: it looks at what is there, and does nothing where that is right already.

    Args:
        run_name: the task run's name as the Prefect UI shows it; ``{parameter}`` is filled in.
        asset: what it makes of a dataset, as Prefect's assets call it (see assets.py).
    """

    def decorate(function: Callable[A, R]) -> Task[A, R]:
        return _decorator(asset)(
            name=function.__name__,
            task_run_name=run_name,
            cache_policy=NO_CACHE,
            persist_result=False,
            retry_condition_fn=_transient,
            **_COMMON,
        )(function)

    return decorate
