"""A recorded run's labels, measured by a person: a random sample, its answered sheet, what they say of the run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import BadInput
from tasks.pipeline.recorded_run import RUN_FILE, RecordedRun, lake_option
from tasks.pipeline.stored_names import is_name

if TYPE_CHECKING:
    from tasks.decision.review_record import RecordedReview

_MEASURES = {
    "wrong_share": "wrong labels among all",
    "precision": "wrong labels among the flagged (precision)",
    "recall": "of the wrong labels flagged (recall)",
}


def is_recorded(lake: Path, name: str) -> bool:
    """Whether ``name`` is a recorded run of the lake, or latest where there is any."""
    if name == "latest":
        return next((lake / "runs").glob(f"[!.]*/{RUN_FILE}"), None) is not None
    return is_name(name) and (lake / "runs" / name / RUN_FILE).is_file()


def run_called(lake: Path, name: str) -> RecordedRun:
    """The recorded run of this id, or the newest for latest.

    Raises:
        BadInput: there is none.
    """
    if name != "latest":
        return RecordedRun.read(lake, name)
    newest = max(RecordedRun.all_of(lake), key=lambda run: (run.recorded, run.run_id), default=None)
    if newest is None:
        raise BadInput(
            where=str(lake / "runs"),
            expected="a recorded run",
            got="none",
            do="Run gradsieve clean first, or name the lake with --lake.",
        )
    return newest


def draw(lake: Path, name: str, size: int) -> str:
    """Draw a random sample of a run and write its sheet; what to do with it."""
    from tasks.decision.review_sample import write_sample

    recorded = run_called(lake, name)
    sample, sheet = write_sample(lake, recorded, size, lambda ids: _inputs(lake, recorded, ids))
    count, total = sample.table.num_rows, sample.flagged + sample.others
    place = shlex.quote(str(sheet))
    return "\n".join(
        [
            f"run {recorded.run_id}: {count:,} of {total:,} training samples are drawn"
            + (f", all there are instead of {size:,}" if count < size else "")
            + f"; {sample.flagged_draws:,} of them are among the {sample.flagged:,} flagged",
            f"  {sheet} (and sample.parquet, label_studio.json beside it)",
            "  decision is right, wrong or unknown; new_label, where the right one is known, says wrong by itself",
            f"then  gradsieve review {recorded.run_id} --sheet {place}{lake_option(lake)}",
        ]
    )


def _inputs(lake: Path, recorded: RecordedRun, ids: list[str]) -> dict[str, str]:
    """sample_id → its text, or what stands in its columns; of a picture nothing, which its source names."""
    from tasks.report.exhibits import Exhibits

    faces = Exhibits.of_run(lake / "runs" / recorded.run_id, recorded.facts["samples"]).faces(ids, 1)
    return {
        name: " / ".join(face.texts) or "; ".join(f"{cell.name}: {cell.value}" for cell in face.cells)
        for name, face in faces.items()
    }


def hand_in(lake: Path, name: str, sheet: Path, by: str, note: str) -> str:
    """Record the answers of a sheet beside the run, and say what follows."""
    from tasks.catalogue.database import build
    from tasks.decision.review_answers import read_answers
    from tasks.decision.review_record import record_review

    recorded = run_called(lake, name)
    sample, answers = read_answers(sheet, lake, recorded)
    review = record_review(lake, recorded, sample, answers, by, note)
    build(lake)
    return _text(lake, review)


def show(lake: Path, name: str) -> str:
    """What the newest review of a run says; how to begin one where there is none."""
    recorded = run_called(lake, name)
    text = measurement_of(lake, recorded.run_id)
    if text is not None:
        return text
    command = f"gradsieve review {recorded.run_id} --sample 100{lake_option(lake)}"
    return f"run {recorded.run_id}: nobody has answered a random sample of it\n  {command} draws one"


def measurement_of(lake: Path, run_id: str) -> str | None:
    """What the newest answers to a random sample of a run say; None where there are none."""
    from tasks.decision.review_record import RecordedReview

    review = RecordedReview.newest(lake, run_id)
    return None if review is None else _text(lake, review)


def _text(lake: Path, review: RecordedReview) -> str:
    left_out = [
        f"{count:,} {words}"
        for count, words in ((review.not_known, "not known"), (review.unanswered, "not answered"))
        if count
    ]
    lines = [
        f"run {review.run_id}: {review.answered:,} of {review.drawn:,} answered by {review.reviewed_by}, "
        f"{review.recorded[:16].replace('T', ' ')} UTC" + (f": {review.note}" if review.note else "")
    ]
    if left_out:
        lines.append(f"  {', '.join(left_out)}: left out, as if they were like the others")
    for row in review.estimates(lake):
        stated = (
            "cannot be told"
            if row["estimate"] is None
            else f"{row['estimate']:.1%} (95 % [{row['low']:.1%}, {row['high']:.1%}])"
        )
        lines.append(f"  {_MEASURES[row['measure']]}: {stated}")
    sql = f"SELECT * FROM review_estimates WHERE review_id = '{review.review_id}'"
    return "\n".join([*lines, f'ask  gradsieve sql "{sql}"{lake_option(lake)}'])
