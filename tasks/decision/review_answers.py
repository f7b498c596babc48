"""What a person answered about a random sample of a run, and what follows for the run whatever its model believes.

    <lake>/review_answers/<review id>/answers.parquet     each sample that was drawn, how probably, and the answer
    <lake>/review_answers/<review id>/estimates.parquet   share of wrong labels, precision, recall, with intervals
    <lake>/review_answers/<review id>/review.json         of which run, by whom and when; and the manifest

A folder is whole and never changed; the same answers by the same person are the folder that is there. Decisions about
flagged samples (tasks/decision/review_sheet) never come here: those are no random sample.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import BadInput
from tasks.dataset.targets import Target, target_of
from tasks.decision.review_sample import DRAWS, ReviewSample, read_sample
from tasks.decision.review_sheet import bad_sheet, read_file
from tasks.kernels.survey_sampling import Share, hajek_share, mixed_share, part_of_hits
from tasks.pipeline.recorded_run import RecordedRun

DECISIONS = ("right", "wrong", "unknown")
"""What may be answered; an empty cell is no answer."""

REVIEW_SAMPLES = pa.schema(
    [
        *(DRAWS.field(name) for name in ("sample_id", "flag", "rank", "label", "probability")),
        pa.field("answer", pa.string()),  # right, wrong or unknown; null where none was given
        pa.field("new_label", pa.string()),
    ]
)
# Null where it cannot be told: of nothing flagged there is no precision.
REVIEW_ESTIMATES = pa.schema(
    [
        pa.field("measure", pa.string(), nullable=False),  # wrong_share, precision or recall
        pa.field("estimate", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
    ]
)


def read_answers(path: Path, lake: Path, recorded: RecordedRun) -> tuple[ReviewSample, pa.Table]:
    """An answered sheet: CSV, Parquet, or JSON as Label Studio exports it, which may leave out what was not answered.

    Returns:
        The sample that it is the sheet of, and schema ``REVIEW_SAMPLES`` in the order of the sample.

    Raises:
        BadInput: it cannot be read, is the sheet of something else, lacks a row, names an unknown sample or class, or
            contradicts itself.
        BadArtefact: the probabilities were altered.
    """
    path = path.expanduser()
    table = read_file(path, _from_label_studio)
    if "review" not in table.column_names:
        what = (
            "a sheet of flagged samples, which are no random sample"
            if "rank" in table.column_names
            else "no such column"
        )
        raise bad_sheet(path, "the sheet of a random sample, with its column review", what)
    missing = [name for name in ("sample_id", "decision") if name not in table.column_names]
    if missing:
        raise bad_sheet(path, "columns sample_id and decision", ", ".join(table.column_names))
    names = sorted({str(name or "") for name in table["review"].to_pylist()})
    if len(names) != 1:
        raise bad_sheet(path, "one and the same sample in column review", ", ".join(map(repr, names)) or "no row")
    sample = read_sample(lake, recorded, names[0])
    (samples,) = recorded.of("samples")
    return sample, answers_of(path, table, sample.table, target_of(samples))


def answers_of(path: Path, sheet: pa.Table, draws: pa.Table, target: Target) -> pa.Table:
    """Each answer of a sheet beside the sample that was drawn.

    Args:
        path: of the sheet, for messages.
        sheet: sample_id and decision at least.
        draws: schema ``DRAWS``, those that the sheet asks about.
        target: what labels there are.

    Returns:
        Schema ``REVIEW_SAMPLES``, in the order of ``draws``.

    Raises:
        BadInput: as of ``read_answers``.
    """
    labels = dict(zip(draws["sample_id"].to_pylist(), draws["label"].to_pylist(), strict=True))
    new_labels = sheet["new_label"].to_pylist() if "new_label" in sheet.column_names else [None] * len(sheet)
    answers: dict[str, tuple[str | None, str | None]] = {}
    cells = zip(sheet["sample_id"].to_pylist(), sheet["decision"].to_pylist(), new_labels, strict=True)
    for row, (name, decision, label) in enumerate(cells, 1):
        if name not in labels:
            raise bad_sheet(path, "samples that were drawn", f"{name!r} in row {row}")
        if name in answers:
            raise bad_sheet(path, "each sample once", f"{name} again in row {row}")
        word, text = str(decision or "").strip().lower(), None if label in (None, "") else str(label)
        answers[name] = _answer(path, row, word, text, labels[name], target)
    absent = [name for name in labels if name not in answers]
    if absent and path.suffix != ".json":
        got = f"{len(answers):,} rows; {absent[0]} is missing"
        raise bad_sheet(path, f"all {len(labels):,} rows, those without an answer too", got)
    in_order = [answers.get(name, (None, None)) for name in labels]
    table = draws.select(REVIEW_SAMPLES.names[:-2])
    for index, name in enumerate(REVIEW_SAMPLES.names[-2:]):
        table = table.append_column(name, pa.array([answer[index] for answer in in_order], pa.string()))
    return table.cast(REVIEW_SAMPLES)


def _answer(
    path: Path, row: int, word: str, text: str | None, given: str, target: Target
) -> tuple[str | None, str | None]:
    """(right, wrong, unknown or None; the new label) of one row."""
    if word and word not in DECISIONS:
        raise bad_sheet(path, "right, wrong or unknown as decision", f"{word!r} in row {row}")
    if text is None:
        return word or None, None
    label = target.read(text)
    if label is None:
        raise bad_sheet(path, f"{target.description} as new_label", f"{text!r} in row {row}")
    answer = "right" if label == target.read(given) else "wrong"
    if word not in ("", answer):
        raise bad_sheet(path, f"a decision that goes with new_label {text!r}", f"{word} of label {given} in row {row}")
    return answer, None if answer == "right" else label


def _from_label_studio(tasks: list[dict[str, Any]]) -> pa.Table:
    """Every task with its newest annotation, which may have answered nothing."""
    rows = []
    for task in tasks:
        results = [result for annotation in task.get("annotations", [])[-1:] for result in annotation["result"]]
        chosen = {result["from_name"]: result["value"]["choices"][0] for result in results}
        rows.append(
            {name: task["data"].get(name) for name in ("review", "sample_id")}
            | {name: chosen.get(name) for name in ("decision", "new_label")}
        )
    return pa.Table.from_pylist(
        rows, pa.schema([(name, pa.string()) for name in ("review", "sample_id", "decision", "new_label")])
    )


def estimates_of(sample: ReviewSample, answers: pa.Table) -> pa.Table:
    """What the answers say of all training samples, by nothing but the probabilities (tasks/kernels/survey_sampling).

    Rows that were not known or not answered are left out. The others stand for the flagged or for the rest of the run,
    whose sizes are known.

    Returns:
        Schema ``REVIEW_ESTIMATES``.

    Raises:
        BadInput: nothing was answered.
    """
    flagged, others = (_share(answers, flag=flag) for flag in (True, False))
    if flagged is None and others is None:
        raise BadInput(
            where=f"the sheet of {sample.name}",
            expected="an answer",
            got="none that says right or wrong",
            do="Fill in the column decision, or new_label, and hand it in again with --sheet.",
        )
    # A part without samples has no hits.
    no_hits = Share(0.0, 0.0, 0.0)
    first, second = (flagged if sample.flagged else no_hits), (others if sample.others else no_hits)
    wrong = recall = None
    if first is not None and second is not None:
        weight = sample.flagged / (sample.flagged + sample.others)
        wrong = mixed_share(first, second, weight)
        recall = part_of_hits(first, second, weight) if sample.flagged else None
    estimates = {"wrong_share": wrong, "precision": flagged, "recall": recall}
    rows = [
        {"measure": name} | dict(zip(("estimate", "low", "high"), share or (None, None, None), strict=True))
        for name, share in estimates.items()
    ]
    return pa.Table.from_pylist(rows, REVIEW_ESTIMATES)


def _share(answers: pa.Table, *, flag: bool) -> Share | None:
    """The share of wrong labels in one part; None where none of its rows was answered."""
    part = answers.filter(pc.equal(answers["flag"], flag))
    known = part.filter(pc.is_in(part["answer"], value_set=pa.array(["right", "wrong"])))
    if not known.num_rows:
        return None
    # Rows without an answer make the sample smaller: the chance to be drawn and answered is less by their share.
    probabilities = known["probability"].to_numpy() * (known.num_rows / part.num_rows)
    return hajek_share(np.array(known["answer"].to_pylist()) == "wrong", probabilities)


def counts_of(answers: pa.Table) -> dict[str, int]:
    """How many were drawn, answered, not known and left without an answer."""
    given = answers["answer"].to_pylist()
    unknown, unanswered = given.count("unknown"), given.count(None)
    return {
        "drawn": len(given),
        "answered": len(given) - unknown - unanswered,
        "not_known": unknown,
        "unanswered": unanswered,
    }
