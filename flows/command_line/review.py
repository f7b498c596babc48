"""``gradsieve review``: which runs wait for a person, and the answer to one of them or to a finished one.

Plumbing that speaks Prefect's API; what is done with recorded runs is in flows/command_line/finished_run, and with
random samples of them in flows/command_line/random_review.
"""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import CliPositionalArg
from rich.console import Console
from rich.table import Table

from flows.command_line.random_review import draw, hand_in, is_recorded, show
from tasks.core.errors import BadConfig, BadInput

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

# What the server says between a run's pause and its question, a moment on a machine at rest.
_PREFECTS_NO_QUESTION = "Run input schema not found"
_QUESTION_SECONDS, _LOOK_SECONDS = 20.0, 0.5
_NO_QUESTION = "one that has not written down its question yet"
_LATER = (
    "Its machine may be busy: say the same again in a minute. If its process was killed just then, gradsieve serve "
    "puts it in line again, and it asks anew; without gradsieve serve cancel it in the Prefect UI, and start it again."
)


class ReviewCommand(BaseModel):
    """Runs that wait for somebody to look at what is flagged; with a run's name, the answer.

    gradsieve review; gradsieve review clever-newt approve; gradsieve review clever-newt rows --sheet flagged.csv

    Of a finished run the same, without a server: what was decided is retrained, proved and published anew.
    gradsieve review RUN_ID rows --sheet RUN_ID-review.csv, as the page of the run saves it

    Of a recorded run, without a server: a random sample of its labels, the answers, and what they say of the run.
    gradsieve review RUN_ID --sample 100; gradsieve review RUN_ID --sheet sample.csv; gradsieve review RUN_ID
    """

    model_config = ConfigDict(extra="forbid")
    run: CliPositionalArg[str | None] = Field(
        default=None, description="Name or id of the waiting flow run; or a recorded run's id, or latest."
    )
    decision: CliPositionalArg[Literal["approve", "reject", "rows"] | None] = Field(
        default=None, description="As flagged; nothing; or row by row as an edited sheet says."
    )
    sheet: Path | None = Field(default=None, description="The edited sheet: .csv, .parquet, or Label Studio's .json.")
    at_most: int | None = Field(default=None, ge=0, description="Of those approved only so many, the most suspect.")
    by: str = Field(default_factory=getpass.getuser, description="Who you are.")
    note: str = Field(default="", description="Anything to be remembered with the decision.")
    sample: int | None = Field(
        default=None, ge=2, description="Draw so many training samples of a recorded run at random, to be answered."
    )
    lake: Path = Field(default=Path("data"), description="Folder that holds the recorded run.")

    def cli_cmd(self) -> None:
        """List them, or answer; or have to do with a recorded run."""
        lake = self.lake.expanduser().resolve()
        recorded = self.run is not None and is_recorded(lake, self.run)
        if self.run is not None and recorded and self.decision is not None and self.sample is None:
            self._decide_a_finished_run(lake, self.run)
            return
        if self.sample is None and not (recorded and self.decision is None):
            self._answer_a_waiting_run(lake)
            return
        if self.run is None or self.decision is not None or self.at_most is not None:
            raise BadConfig(
                where="option sample" if self.sample is not None else "option at-most",
                expected="a recorded run's id, and no decision about what it flagged",
                got="no run" if self.run is None else self.decision or f"at most {self.at_most}",
                do="gradsieve runs lists them: gradsieve review RUN_ID --sample 100.",
            )
        if self.sample is not None and self.sheet is not None:
            raise BadConfig(
                where="option sample",
                expected="a sample to be drawn, or a sheet to be handed in",
                got="both",
                do="Leave out --sample: the sheet says which sample it is of.",
            )
        if self.sample is not None:
            print(draw(lake, self.run, self.sample))
        elif self.sheet is not None:
            print(hand_in(lake, self.run, self.sheet, self.by, self.note))
        else:
            print(show(lake, self.run))

    def _decide_a_finished_run(self, lake: Path, run: str) -> None:
        from flows.command_line.finished_run import decide
        from tasks.decision.review_sheet import Answer, now

        about = {"at_most": self.at_most, "reviewer": self.by, "note": self.note.strip(), "at": now()}
        print(decide(lake, run, Answer.model_validate({"decision": self.decision, **about}), self.sheet))

    def _answer_a_waiting_run(self, lake: Path) -> None:
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
        from prefect.client.schemas.objects import StateType
        from prefect.settings import get_current_settings

        from tasks.decision.review_sheet import waiting_flow_run

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
                Console(width=None if Console().is_terminal else 160, markup=False).print(
                    table if runs else "no run waits"
                )
                return
            names = {self.run, waiting_flow_run(lake, self.run)}
            matches = [run for run in runs if {run.name, str(run.id)} & names]
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
            reason = _resume(client, matches[0].id, answer | ({"sheet": sheet} if sheet else {}))
            if reason is not None:
                raise BadConfig(
                    where=f"run {self.run!r}",
                    expected="a run that can be resumed",
                    got=reason,
                    do=_LATER if reason == _NO_QUESTION else "Look at it in the Prefect UI.",
                )
        print(f"{self.run}: {self.decision} by {self.by}")


def _resume(client: SyncPrefectClient, run: UUID, answer: dict[str, Any]) -> str | None:
    """Hand an answer in; None if it is taken, else why not. Prefect pauses a run before it writes the question down."""
    deadline = time.monotonic() + _QUESTION_SECONDS
    while True:
        result = client.resume_flow_run(run, run_input=answer)
        if result.status.value == "ACCEPT":
            return None
        reason = str(getattr(result.details, "reason", result.status.value))
        if reason.strip(".") != _PREFECTS_NO_QUESTION:
            return reason
        if time.monotonic() > deadline:
            return _NO_QUESTION
        time.sleep(_LOOK_SECONDS)
