"""Where the tasks of one stage run: threads, processes, or a cluster."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tasks.core.plugins import Component


class Runner(Component):
    """What is computed does not depend on it, to the byte."""

    kind: Literal["threads", "processes", "dask", "ray"] = Field(
        default="threads",
        description="threads of this process; processes of this machine; a dask or ray cluster (pip install "
        "-e '.[dask]' or '.[ray]').",
    )
    workers: int | None = Field(
        default=None, ge=1, description="How many; default 4 threads, else half the processors. A cluster has its own."
    )
    address: str | None = Field(
        default=None, description="Of a running dask or ray cluster; default: one is started here, and stopped again."
    )

    @model_validator(mode="after")
    def _clusters_have_addresses(self) -> Runner:
        if self.address is not None and self.kind not in ("dask", "ray"):
            raise ValueError(f"runner.address is for dask and ray, not for {self.kind}")
        return self
