"""Code from outside, a factory of one's own that an option names, runs for whoever types a command line.

Who fills in a form, or the parameters of a deployment, may not make a worker import what it names, unless the worker
was started so: ``gradsieve serve --allow-code``, which sets ``GRADSIEVE_ALLOW_CODE`` for its workers. Nor may whoever
can write to a lake, by the configuration of a run in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

ALLOW = "GRADSIEVE_ALLOW_CODE"
# What Prefect's workers tell the processes of the runs that they start.
_OF_A_WORKER = "PREFECT__FLOW_RUN_ID"
_OF_A_LAKE: ContextVar[bool] = ContextVar("gradsieve_named_by_a_lake", default=False)


@contextmanager
def named_by_a_lake() -> Iterator[None]:
    """What is read meanwhile was typed by nobody: it stands in a file of a lake."""
    before = _OF_A_LAKE.set(True)
    try:
        yield
    finally:
        _OF_A_LAKE.reset(before)


def objection(factory: str | None) -> str | None:
    """Why this process may not import a factory of somebody's own; None where it may.

    Args:
        factory: package.module:function; None of nothing.
    """
    if factory is None or os.environ.get(ALLOW) == "true":
        return None
    if _OF_A_LAKE.get():
        return (
            f"{factory} is code from outside, which the configuration of a run in the lake names and nobody has typed: "
            f"expected {ALLOW}=true in the environment, of whoever knows that code"
        )
    if _OF_A_WORKER not in os.environ:
        return None
    return (
        f"{factory} is code from outside, and this run was started by a deployment or a form: expected a worker that "
        f"runs such code, of gradsieve serve --allow-code (or, started otherwise, with {ALLOW}=true in its "
        "environment); a command line, gradsieve clean, runs it as well"
    )
