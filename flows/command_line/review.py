"""``gradsieve review``: which runs wait for a person, and the answer to one. Plumbing that speaks Prefect's API."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import CliPositionalArg
from rich.console import Console
from rich.table import Table

from tasks.core.errors import BadConfig, BadInput


class ReviewCommand(BaseModel):
    """Runs that wait for somebody to look at what is flagged; with a run's name, the answer.

    gradsieve review; gradsieve review clever-newt approve; gradsieve review clever-newt rows --sheet flagged.csv
    """

    model_config = ConfigDict(extra="forbid")
    run: CliPositionalArg[str | None] = Field(default=None, description="Name or id of the waiting flow run.")
    decision: CliPositionalArg[Literal["approve", "reject", "rows"] | None] = Field(
        default=None, description="As flagged; nothing; or row by row as an edited sheet says."
    )
    sheet: Path | None = Field(default=None, description="The edited sheet: .csv, .parquet, or Label Studio's .json.")
    at_most: int | None = Field(default=None, ge=0, description="Of those approved only so many, the most suspect.")
    by: str = Field(default_factory=getpass.getuser, description="Who you are.")
    note: str = Field(default="", description="Anything to be remembered with the decision.")

    def cli_cmd(self) -> None:
        """List them, or answer."""
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
        from prefect.client.schemas.objects import StateType
        from prefect.settings import get_current_settings

        if not get_current_settings().api.url:
            raise BadConfig(
                where="the Prefect server",
                expected="its address in PREFECT_API_URL",
                got="none",
                do="gradsieve serve prints it.",
            )
        run_filter = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_run_filter=run_filter)
            if self.run is None:
                table = Table("run", "name", "waits since", box=None, pad_edge=False)
                for run in runs:
                    table.add_row(
                        str(run.id), run.name, f"{run.state.timestamp:%Y-%m-%d %H:%M} UTC" if run.state else ""
                    )
                Console(width=None if Console().is_terminal else 160).print(table if runs else "no run waits")
                return
            matches = [run for run in runs if self.run in (run.name, str(run.id))]
            if len(matches) != 1:
                raise BadInput(
                    where=f"run {self.run!r}",
                    expected="one run that waits",
                    got=f"{len(matches)} of that name",
                    do="gradsieve review lists them; name one by its id.",
                )
            if self.decision is None:
                raise BadConfig(where="the decision", expected="approve, reject or rows", got="none", do="Name one.")
            sheet = "" if self.sheet is None else str(self.sheet.expanduser().resolve())
            answer = {"decision": self.decision, "reviewer": self.by, "note": self.note, "at_most": self.at_most}
            result = client.resume_flow_run(matches[0].id, run_input=answer | ({"sheet": sheet} if sheet else {}))
            if result.status.value != "ACCEPT":
                raise BadConfig(
                    where=f"run {self.run!r}",
                    expected="a run that can be resumed",
                    got=str(getattr(result.details, "reason", result.status.value)),
                    do="Look at it in the Prefect UI.",
                )
        print(f"{self.run}: {self.decision} by {self.by}")
