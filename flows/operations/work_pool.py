"""The work pool whose runs the workers of ``gradsieve serve`` start."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from flows.operations.server_api import ServerApi

POOL = "gradsieve"
_TEMPLATE = Path(__file__).resolve().parents[2] / "deployments" / "work-pools" / "process.json"


def make_pool(api: ServerApi) -> None:
    """Create the pool, or give the one that is there our template.

    Its runs are one process each: without a command Prefect starts a second one, which imports all of Prefect to find
    code that lies here already.
    """
    template = json.loads(_TEMPLATE.read_text(encoding="utf-8"))
    template["variables"]["properties"]["command"]["default"] = shlex.join(
        [sys.executable, "-m", "flows.operations.run_engine"]
    )
    if api.ask("work_pools/filter", work_pools={"name": {"any_": [POOL]}}):
        api.ask(f"work_pools/{POOL}", "PATCH", base_job_template=template)
    else:
        api.ask("work_pools/", name=POOL, type="process", base_job_template=template)
