"""What a person is asked about flagged samples, and what is made of the answer.

    <lake>/reviews/<digest of the flags>/flagged.csv, flagged.parquet    the sheet, to be edited and handed in
    <lake>/reviews/<digest of the flags>/label_studio.json               the same as tasks for Label Studio
    <lake>/reviews/<digest of the flags>/question-<flow run>.json       which run of Prefect's waits, and how it asked
    <lake>/reviews/<digest of the flags>/rows.parquet, answer.json       what was decided, by whom and when

The folder is named by the digest of the flags and not of the run: the same question is asked once.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from pydantic import ConfigDict, Field, ValidationError

from tasks.core.errors import BadInput
from tasks.core.form_schema import hidden
from tasks.core.plugins import Component
from tasks.dataset.targets import Target
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.durable_files import sha256_of, write_durably
from tasks.pipeline.stored_names import inside

Decision = Literal["approve", "reject", "rows"]
ROW_DECISIONS = ("flag", "keep", "remove", "relabel")
"""What a sheet may say of a row: flag is what the run does with the flagged, remove or relabel one of both."""

# What the sheet shows of each flagged sample; decision and new_label are what is edited.
SHEET = (
    "rank", "decision", "sample_id", "label", "new_label", "p_wrong", "suspicion", "source", "row", "group", "reason",
)  # fmt: skip
ROWS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("flag", pa.bool_(), nullable=False),
        pa.field("new_label", pa.string()),
        pa.field("remedy", pa.string()),  # remove or relabel; null: what the run does with the flagged
    ]
)


class Review(Component):
    """Whether a person looks at what is flagged before anything is made of it."""

    # The command line fills it in.
    model_config = ConfigDict(json_schema_extra=hidden("decided"))

    required: bool = Field(
        default=False, description="Pause with the flagged samples until somebody has decided about them."
    )
    hours: float = Field(
        default=72.0,
        gt=0,
        le=8760,
        description="How long somebody is waited for; then the run goes on, and its version stays a candidate.",
    )
    decided: str | None = Field(
        default=None,
        description="Digest of the flags that were decided about, as gradsieve review says it of a finished run: one "
        "that comes to others stops instead of asking.",
    )


class Answer(Component):
    """What a reviewer decided, or that nobody answered in time."""

    decision: Decision | Literal["nobody"]
    at_most: int | None = None
    """Of those approved, so many most suspect ones."""
    reviewer: str = ""
    note: str = ""
    at: str = ""
    rows: str | None = None
    """SHA-256 of rows.parquet"""
    hours: float | None = None
    """How long the run waited for an answer."""


def home_of(lake: Path, flags: str) -> Path:
    """The folder of a review, by the digest of the flags."""
    return inside(lake / "reviews", flags[:20], single=True)


def write_sheet(run: Run, flags: Artefact) -> Path:
    """Put the flagged samples down as CSV, as Parquet and for Label Studio; the CSV's place."""
    home = home_of(run.lake, flags.digest)
    home.mkdir(parents=True, exist_ok=True)
    flagged = pq.read_table(run.path(flags), filters=pc.field("flag"))
    decision = pa.array(["flag"] * flagged.num_rows, pa.string())
    sheet = flagged.append_column("decision", decision).rename_columns({"suggested_label": "new_label"}).select(SHEET)
    if not (home / "flagged.csv").exists():
        write_forms(home / "flagged.csv", sheet, [_task(row) for row in sheet.to_pylist()])
    return home / "flagged.csv"


def write_forms(path: Path, sheet: pa.Table, tasks: list[dict[str, Any]]) -> None:
    """A sheet as CSV at ``path``, and beside it as Parquet and as Label Studio's tasks."""
    pq.write_table(sheet, path.with_suffix(".parquet"))
    write_durably(path.with_name("label_studio.json"), json.dumps(tasks, indent=1))
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(sheet, sink)
    # Last: an edited sheet is never written over.
    write_durably(path, sink.getvalue().to_pybytes().decode())


def _task(row: dict[str, Any]) -> dict[str, Any]:
    """A row as Label Studio's task, our decision as its prediction."""
    choice = {"from_name": "decision", "to_name": "reason", "type": "choices", "value": {"choices": [row["decision"]]}}
    return {"data": row, "predictions": [{"model_version": "gradsieve", "result": [choice]}]}


def read_sheet(path: Path, flags: pa.Table, target: Target) -> pa.Table:
    """An edited sheet: CSV, Parquet, or JSON as Label Studio exports it.

    Args:
        path: of the file.
        flags: schema ``SUSPECTS``.
        target: what labels there are.

    Returns:
        Schema ``ROWS``; samples that the sheet does not list are decided as they were.

    Raises:
        BadInput: it cannot be read, lacks a column, names an unknown sample or class, decides otherwise than by
            ``ROW_DECISIONS``, or relabels to nothing.
    """
    path = path.expanduser()
    table = read_file(path, _from_label_studio)
    missing = [name for name in ("sample_id", "decision") if name not in table.column_names]
    if missing:
        raise bad_sheet(path, "columns sample_id and decision", f"{', '.join(table.column_names)}")
    decisions = [str(value or "").strip().lower() for value in table["decision"].to_pylist()]
    names = [str(value) for value in table["sample_id"].to_pylist()]
    labels = table["new_label"].to_pylist() if "new_label" in table.column_names else [None] * len(names)
    labels = [None if label is None or label == "" else str(label) for label in labels]
    suggestions = dict(zip(flags["sample_id"].to_pylist(), flags["suggested_label"].to_pylist(), strict=True))
    for row, (name, decision, label) in enumerate(zip(names, decisions, labels, strict=True), 1):
        if decision not in ROW_DECISIONS:
            raise bad_sheet(
                path, f"{', '.join(ROW_DECISIONS[:-1])} or relabel as decision", f"{decision!r} in row {row}"
            )
        if name not in suggestions:
            raise bad_sheet(path, "training samples of this run", f"{name!r} in row {row}")
        if label is not None and target.read(label) is None:
            raise bad_sheet(path, f"{target.description} as new_label", f"{label!r} in row {row}")
        if decision == "relabel" and label is None and not suggestions[name]:
            raise bad_sheet(path, "a new_label to relabel to, for none is suggested", f"none in row {row}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise bad_sheet(path, "each sample once", f"{twice} several times")
    labels = [None if label is None else target.read(label) for label in labels]
    remedies = [decision if decision in ("remove", "relabel") else None for decision in decisions]
    return pa.table([names, [decision != "keep" for decision in decisions], labels, remedies], schema=ROWS)


def read_file(path: Path, from_label_studio: Callable[[list[dict[str, Any]]], pa.Table]) -> pa.Table:
    """A sheet as it is written, whatever stands in it.

    Args:
        path: of a .csv, .parquet or .json file.
        from_label_studio: makes a sheet of Label Studio's tasks.

    Raises:
        BadInput: it is of another kind, or damaged.
    """
    readers = {
        ".csv": lambda: pa_csv.read_csv(path, parse_options=_SEVERAL_LINES, convert_options=_AS_TEXT),
        ".parquet": lambda: pq.read_table(path),
        ".json": lambda: from_label_studio(json.loads(path.read_text(encoding="utf-8"))),
    }
    if path.suffix not in readers:
        raise bad_sheet(path, "a .csv, .parquet or .json file", path.suffix or "no suffix")
    try:
        return readers[path.suffix]()
    except (OSError, ValueError, KeyError, TypeError, IndexError, pa.ArrowException) as error:
        raise bad_sheet(
            path, "a review sheet", f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        ) from error


# A response may have any number of them.
_SEVERAL_LINES = pa_csv.ParseOptions(newlines_in_values=True)
_AS_TEXT = pa_csv.ConvertOptions(
    column_types=dict.fromkeys(("review", "sample_id", "decision", "label", "new_label"), pa.string()),
    strings_can_be_null=True,
    # A class may be called NA, null or nan.
    null_values=[""],
)


def _from_label_studio(tasks: list[dict[str, Any]]) -> pa.Table:
    rows = []
    for task in tasks:
        results = [result for annotation in task["annotations"][-1:] for result in annotation["result"]]
        decision = [result["value"]["choices"][0] for result in results if result["from_name"] == "decision"]
        label = [result["value"]["choices"][0] for result in results if result["from_name"] == "new_label"]
        if decision:
            new = label[0] if label else task["data"].get("new_label")
            rows.append({"sample_id": task["data"]["sample_id"], "decision": decision[0], "new_label": new})
    return pa.Table.from_pylist(
        rows, pa.schema([(name, pa.string()) for name in ("sample_id", "decision", "new_label")])
    )


def bad_sheet(path: Path, expected: str, got: str) -> BadInput:
    """What is wrong with a person's sheet, and where."""
    return BadInput(where=str(path), expected=expected, got=got, do="Correct the sheet and hand it in again.")


def note_question(run: Run, flags: Artefact, flow_run: str, key: str) -> None:
    """Note which of Prefect's runs waits with these flags: a page knows the run by our name for it.

    Args:
        run: that asks.
        flags: it asks about.
        flow_run: Prefect's id of it.
        key: by which Prefect knows this question, and its answer.
    """
    path = _question(run.lake, flags.digest, flow_run)
    write_durably(path, json.dumps({"run": run.run_id, "flow_run": flow_run, "key": key}))


def earlier_question(lake: Path, flags: str, flow_run: str) -> str | None:
    """The key of what a run has asked about the flags of this digest last; None where it has asked nothing."""
    path = _question(lake, flags, flow_run)
    return json.loads(path.read_bytes())["key"] if path.is_file() else None


def waiting_flow_run(lake: Path, run_id: str) -> str | None:
    """Prefect's id of the run that asked as ``run_id``; None where none did."""
    for path in (lake / "reviews").glob("*/question*.json"):  # 0.6 wrote question.json
        question = json.loads(path.read_bytes())
        if question["run"] == run_id:
            return question["flow_run"]
    return None


def _question(lake: Path, flags: str, flow_run: str) -> Path:
    # Two nights may come to the same flags, and ask about them at once.
    return home_of(lake, flags) / f"question-{flow_run}.json"


def has_answers(lake: Path) -> bool:
    """Whether anything was decided in this lake before."""
    return any((lake / "reviews").glob("*/answer.json"))


def earlier_answer(lake: Path, flags: str) -> Answer | None:
    """What was decided about the flags of this digest before."""
    path = home_of(lake, flags) / "answer.json"
    if not path.is_file():
        return None
    try:
        answer = Answer.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BadInput(
            where=str(path),
            expected="an answer",
            got=str(error).replace("\n", " ")[:200],
            do="Delete it, and decide anew.",
        ) from error
    return answer


def now() -> str:
    """When somebody decides, UTC."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def keep_answer(lake: Path, flags: str, answer: Answer, rows: pa.Table | None) -> Answer:
    """Keep who decided what, and when, for the record and for runs that come to the flags of this digest."""
    home = home_of(lake, flags)
    home.mkdir(parents=True, exist_ok=True)
    if rows is not None:
        pq.write_table(rows, home / "rows.parquet")
        answer = answer.model_copy(update={"rows": sha256_of(home / "rows.parquet")})
    write_durably(home / "answer.json", answer.model_dump_json(indent=1))
    return answer


def rows_of_answer(lake: Path, flags: str) -> pa.Table:
    """The rows that were decided about: schema ``ROWS``; a version before there were remedies kept none."""
    table = pq.read_table(home_of(lake, flags) / "rows.parquet")
    if "remedy" not in table.column_names:
        table = table.append_column("remedy", pa.nulls(table.num_rows, pa.string()))
    return table.cast(ROWS)
