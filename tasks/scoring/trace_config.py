"""What is traced: the queries of one recorded run, and how."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from tasks.core.errors import BadInput
from tasks.core.form_schema import without_none
from tasks.pipeline.recorded_run import RecordedRun
from tasks.scoring.influence_traces import Tracing


def _which_first(schema: JsonDict) -> None:
    """The form asks first which run is meant, then how; a model lists what it inherits first."""
    properties = cast("JsonDict", schema["properties"])
    schema["properties"] = {name: properties.pop(name) for name in ("run", "dataset", "lake")} | properties
    without_none(schema)


class TraceConfig(Tracing):
    """Name, for each query of a recorded run, the training samples that shaped its answer most."""

    model_config = ConfigDict(json_schema_extra=_which_first)
    run: str = Field(default="latest", description="A recorded run's id, or latest.")
    dataset: str | None = Field(default=None, description="Whose latest run; default: the newest of any dataset.")
    lake: Path = Field(default=Path("data"), description="Folder that holds runs, versions and the catalogue.")

    @property
    def tracing(self) -> Tracing:
        """How, whichever run it is."""
        return Tracing.model_validate(self.model_dump(include=set(Tracing.model_fields)))

    def recorded_run(self) -> RecordedRun:
        """The run that is meant.

        Raises:
            BadInput: there is none.
        """
        lake = self.lake.expanduser().resolve()
        if self.run != "latest":
            return RecordedRun.read(lake, self.run)
        runs = [run for run in RecordedRun.all_of(lake) if self.dataset in (None, run.dataset)]
        if not runs:
            raise BadInput(
                where=str(lake / "runs"),
                expected="a recorded run" + (f" of dataset {self.dataset}" if self.dataset else ""),
                got="none",
                do="gradsieve clean records one; its queries are what --reader.reference-path names.",
            )
        return max(runs, key=lambda run: (run.recorded, run.run_id))
