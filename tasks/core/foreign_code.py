"""Code from outside, a factory of one's own that an option names, runs for whoever types a command line.

Who fills in a form, or the parameters of a deployment, may not make a worker import what it names, unless the worker
was started so: ``gradsieve serve --allow-code``, which sets ``GRADSIEVE_ALLOW_CODE`` for its workers.
"""

from __future__ import annotations

import os

ALLOW = "GRADSIEVE_ALLOW_CODE"
# What Prefect's workers tell the processes of the runs that they start.
_OF_A_WORKER = "PREFECT__FLOW_RUN_ID"


def objection(factory: str | None) -> str | None:
    """Why this process may not import a factory of somebody's own; None where it may.

    Args:
        factory: package.module:function; None of nothing.
    """
    if factory is None or _OF_A_WORKER not in os.environ or os.environ.get(ALLOW) == "true":
        return None
    return (
        f"{factory} is code from outside, and this run was started by a deployment or a form: expected a worker that "
        f"runs such code, of gradsieve serve --allow-code (or, started otherwise, with {ALLOW}=true in its "
        "environment); a command line, gradsieve clean, runs it as well"
    )
