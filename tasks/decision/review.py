"""review: flags + a person's answer → the flags as the person wants them; and the question itself."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import anyio
from prefect.client.orchestration import get_client
from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from prefect.input.actions import aread_flow_run_input, ensure_flow_run_id
from prefect.input.run_input import keyset_from_base_key
from prefect.settings import get_current_settings
from prefect.states import Running
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from tasks.core.errors import BadConfig, BadInput
from tasks.core.form_schema import without_none
from tasks.core.markdown import as_table, escape
from tasks.dataset.targets import target_of
from tasks.decision.review_sheet import (
    Answer,
    Decision,
    Review,
    earlier_answer,
    earlier_question,
    has_answers,
    keep_answer,
    note_question,
    now,
    read_sheet,
    write_sheet,
)
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.page_link import link_to, page_path
from tasks.pipeline.step import step

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.pipeline.dataset_lock import DatasetLock

# Prefect fails a pause that has expired; ours ends before.
_LONGER_SECONDS = 86_400
_LOOK_SECONDS = 2
# Rows of the sheet that stand in the question itself.
_ROWS_SHOWN = 20
# Prefect's own server knows no users: who answers there is asked, and not who the worker runs as.
_SOMEBODY = "somebody in the UI"


class ReviewForm(RunInput):
    """What the reviewer fills in."""

    model_config = ConfigDict(json_schema_extra=without_none)

    decision: Decision = Field(
        default="approve",
        description="approve: as flagged. reject: nothing is flagged. rows: as the edited sheet says, row by row.",
    )
    at_most: int | None = Field(
        default=None, ge=0, description="Approve no more than so many, the most suspect. Default: all of them."
    )
    sheet: str = Field(default="", description="The edited sheet (.csv, .parquet, or Label Studio's .json), for rows.")
    reviewer: str = Field(default="", description=f"Who you are; left empty, {_SOMEBODY} has decided.")
    note: str = Field(default="", description="Anything to be remembered with the decision.")

    @classmethod
    def filled_in(cls, question: str, **values: Any) -> type[ReviewForm]:
        """The form with some fields filled in. Prefect's ``with_initial_data`` drops what explains them."""
        fields = {name: (cls.model_fields[name].annotation, _with_default(cls, name, values[name])) for name in values}
        form = create_model(cls.__name__, __base__=cls, **cast("dict[str, Any]", fields))
        form._description = question
        return form


def _with_default(form: type[BaseModel], name: str, value: Any) -> FieldInfo:
    return Field(default=value, description=form.model_fields[name].description)


@step("review")
def review(run: Run, samples: Artefact, flags: Artefact, answer: Answer, arm: str) -> Artefact:
    """Apply the answer; the facts are those of the resulting flags, who decided, and of which flags (``of``).

    Where a row is to be relabelled and the run would remove the flagged (``arm`` cleaned), those that nobody relabels
    lose their suggestion: the run then relabels the others, and removes these as it would have.
    """
    import pyarrow.parquet as pq

    from tasks.dataset.samples import table_of, with_class
    from tasks.decision.flagging import audit, count_flags, reviewed_estimate, reviewed_flags, write_diagnoses
    from tasks.pipeline.schemas import FLAGS

    before = pq.read_table(run.path(flags))
    rows = _rows_of(run, flags, before, answer)
    relabelled = 0 if rows is None else rows["remedy"].to_pylist().count("relabel")
    removes = bool(relabelled) and arm == "cleaned"
    about = (answer.reviewer, answer.note, answer.at)
    table = before if rows is None else reviewed_flags(before, rows, *about, removes=removes)
    thin = with_class(samples, table_of(run, samples, ["sample_id", "label", "group"]))
    audit_table = audit(table.select(FLAGS.names), thin)
    summary = answer.model_dump(mode="json") | {"rows": 0 if rows is None else rows.num_rows}
    summary |= {"relabelled": relabelled, "of": flags.digest}
    with run.draft("flags") as draft:
        pq.write_table(table, draft.path("flags.parquet", table.num_rows), compression="zstd")
        pq.write_table(audit_table, draft.path("audit.parquet", audit_table.num_rows), compression="zstd")
        write_diagnoses(draft, flags.facts["diagnoses"])
        estimate = reviewed_estimate(flags.facts["found"], before, table)
        return draft.commit(**flags.facts | count_flags(table, audit_table) | {"found": estimate, "review": summary})


def _rows_of(run: Run, flags: Artefact, table: pa.Table, answer: Answer) -> pa.Table | None:
    """Schema ``ROWS``: the samples the reviewer decided about; None where nobody answered."""
    import pyarrow as pa

    from tasks.decision.review_sheet import ROWS, rows_of_answer

    if answer.decision == "nobody":
        return None
    if answer.decision == "rows":
        return rows_of_answer(run.lake, flags.digest)
    names = table.filter(table["flag"])["sample_id"]
    count = 0 if answer.decision == "reject" else len(names) if answer.at_most is None else answer.at_most
    flagged = [index < count for index in range(len(names))]
    nothing = pa.nulls(len(names), pa.string())
    return pa.table([names, pa.array(flagged), nothing, nothing], schema=ROWS)


def check_answerable(lake: Path, options: Review) -> None:
    """Refuse a review that nobody can answer before hours are spent on what it would be about.

    Whether anything will be flagged is not known yet. Where the lake holds a decision, it may be about the very flags
    of this run: that is known only when they are there (see ``ask_for_review``).

    Raises:
        BadConfig: a review is required, and there is no Prefect server.
    """
    if options.required and options.decided is None and not has_answers(lake):
        _check_server()


def _check_server() -> None:
    # The temporary server of a run has an address too, but no UI, and it is known to nobody.
    if not get_current_settings().ui_url:
        raise BadConfig(
            where="option review.required",
            expected="a Prefect server, so that somebody can answer",
            got="none that has pages: PREFECT_API_URL is not set, or PREFECT_UI_URL is empty",
            do="Start one with gradsieve serve, and set PREFECT_API_URL to its address.",
        )


def ask_for_review(
    run: Run, samples: Artefact, flags: Artefact, options: Review, lock: DatasetLock, arm: str
) -> Artefact:
    """The flags as they are, or, where a review is required, as the reviewer decides.

    Called by the flow itself: the run is *Paused* meanwhile, and is resumed by the form in the Prefect UI (Resume) or
    by ``gradsieve review``; other runs of the dataset have their turn. If nobody comes in time, the flags stay, and
    verification promotes nothing.

    Args:
        run: that asks.
        samples: the training samples.
        flags: by rule.
        options: whether somebody is asked, and for how long.
        lock: the run's turn at its dataset.
        arm: what the run does with the flagged.

    Raises:
        BadConfig: nobody could answer, for there is no Prefect server.
        BadInput: other flags were decided about than these.
    """
    if not options.required or not (flags.facts["flagged"] or options.decided):
        return flags
    answer = earlier_answer(run.lake, flags.digest)
    if answer is None and options.decided is not None:
        raise BadInput(
            where="option review.decided",
            expected=f"the flags {options.decided[:20]}, which were decided about",
            got=f"{flags.digest[:20]}: the data, the options or the code have changed since",
            do="Run gradsieve clean anew, and decide about what it flags.",
        )
    if answer is None:
        with lock.given_up():
            answer = _ask(run, samples, flags, options)
    return review(run, samples, flags, answer, arm)


def _ask(run: Run, samples: Artefact, flags: Artefact, options: Review) -> Answer:
    import pyarrow.parquet as pq

    _check_server()
    sheet = write_sheet(run, flags)
    table = pq.read_table(run.path(flags))
    page, problem = link_to(page_path(run.lake, run.run_id)), ""
    form = asyncio.run(_earlier_form(run, flags))
    while True:
        form = form or asyncio.run(_pause(run, flags, _question(table, sheet, page, options, problem), sheet, options))
        if form is None:
            return Answer(decision="nobody", hours=options.hours)
        try:
            rows = read_sheet(Path(form.sheet or sheet), table, target_of(samples)) if form.decision == "rows" else None
        except BadInput as error:
            problem, form = f"**That did not work:** {escape(str(error))}\n\n", None
            continue
        answer = Answer(
            decision=form.decision,
            at_most=form.at_most,
            reviewer=form.reviewer.strip() or _SOMEBODY,
            note=form.note.strip(),
            at=now(),
        )
        return keep_answer(run.lake, flags.digest, answer, rows)


async def _earlier_form(run: Run, flags: Artefact) -> ReviewForm | None:
    """What somebody has answered while this run had no process; None if it has not asked, or nobody has."""
    key = earlier_question(run.lake, flags.digest, str(ensure_flow_run_id()))
    return None if key is None else await _form_of(key)


async def _form_of(key: str) -> ReviewForm | None:
    """The answer; Prefect's own ``aload`` takes one that is not there for a form with nothing changed, an approval."""
    values = await aread_flow_run_input(keyset_from_base_key(f"paused-{key}")["response"])
    return None if values is None else ReviewForm(**values)


async def _pause(run: Run, flags: Artefact, question: str, sheet: Path, options: Review) -> ReviewForm | None:
    """Wait for an answer; None if there is none in time.

    Each pause has a key of its own: one that Prefect has seen before, as after a restart, it refuses without a word.
    """
    form = ReviewForm.filled_in(question, sheet=str(sheet))
    flow_run, key, seconds = ensure_flow_run_id(), uuid4().hex, int(options.hours * 3600)
    note_question(run, flags, str(flow_run), key)
    with anyio.move_on_after(seconds):
        timeout = seconds + _LONGER_SECONDS
        await apause_flow_run(wait_for_input=form, timeout=timeout, poll_interval=_LOOK_SECONDS, key=key)
        return await _form_of(key)
    async with get_client() as client:
        await client.set_flow_run_state(flow_run, Running(message="Nobody reviewed it in time."), force=True)
    # Somebody may have, since the last look.
    return await _form_of(key)


def _question(table: pa.Table, sheet: Path, page: str, options: Review, problem: str) -> str:
    """What the form says above its fields, as Markdown."""
    flagged: list[dict[str, Any]] = table.filter(table["flag"]).to_pylist()
    lines = [
        f"{problem}**{len(flagged):,} of {table.num_rows:,} training samples are flagged.** Decide within "
        f"{options.hours:g} {'hour' if options.hours == 1 else 'hours'}.",
        "",
        f"**[Look at them, each with its picture or text and its neighbours]({page})**, and decide there: the "
        "page saves the sheet for `rows`.",
        "",
    ]
    columns = ("rank", "sample", "label", "suggested", "reason")
    rows = [
        (str(row["rank"]), row["sample_id"][:12], row["label"], row["suggested_label"] or "", row["reason"])
        for row in flagged[:_ROWS_SHOWN]
    ]
    lines.append(as_table(columns, rows))
    if len(flagged) > _ROWS_SHOWN:
        lines.append(f"\nand {len(flagged) - _ROWS_SHOWN:,} more")
    # The path is long, and what is flagged should meet the eye first.
    lines.append(f"\nAll of them, to be edited row by row: `{sheet}` (and `.parquet`, `label_studio.json` beside it).")
    return "\n".join(lines)
