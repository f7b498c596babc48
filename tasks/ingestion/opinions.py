"""Opinions from outside: class probabilities of any other model, read from a table and checked before they count."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tasks.core.errors import BadInput
from tasks.core.plugins import Component
from tasks.ingestion.readers import READERS, existing_file
from tasks.ingestion.readers.tabular import Tabular
from tasks.ingestion.tables.columns import as_numbers, as_text
from tasks.ingestion.tables.table_rows import Batch
from tasks.pipeline.durable_files import sha256_of

# What opinions from outside say of training samples; no row where one says nothing.
OPINIONS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("opinion", pa.string(), nullable=False),
        pa.field("predicted", pa.string(), nullable=False),
        pa.field("p_predicted", pa.float32(), nullable=False),
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),  # of each class, in the samples' order
    ]
)

# Sums that differ from 1 by no more than the first are rounded; by no more than the second they are normalised and
# counted; others are no probabilities.
_ROUNDED, _NORMALISED = 1e-3, 0.1


class OpinionFile(Component):
    """A file with one row a sample: its id, and a probability for each class. A bare path means the same."""

    path: Path = Field(description="CSV, Parquet or JSON lines; .gz as well.")
    name: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9_-]{1,64}$",
        description="What the opinion is called. Default: the file's name without its suffix.",
    )
    id: str | None = Field(
        default=None,
        description="Column of the source's own ids (option reader.id). Default: sample_id, else source_id.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict, description="Class → its column; a class that is not named has a column of its own name."
    )

    @model_validator(mode="before")
    @classmethod
    def _a_path_is_enough(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str | Path) else value

    @property
    def title(self) -> str:
        """The opinion's name."""
        return self.name or re.sub(r"[^A-Za-z0-9_-]+", "-", self.path.name.partition(".")[0])[:64] or "opinion"

    def fingerprint(self) -> str:
        """Of the file's bytes; a missing file is left for ``read`` to report."""
        path = self.path.expanduser()
        return sha256_of(path) if path.is_file() else ""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | Path | dict | OpinionFile) else value


def _told_apart(value: list[OpinionFile]) -> list[OpinionFile]:
    names = [file.title for file in value]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{twice[0]} stands there twice: give each opinion a name of its own")
    return value


OpinionFiles = Annotated[list[OpinionFile], BeforeValidator(_as_list), AfterValidator(_told_apart)]


@dataclass(frozen=True)
class Opinion:
    """What a file says."""

    name: str
    where: str
    """The file, for messages."""
    by: Literal["sample_id", "source_id"]
    """Whose ids they are: ours, or the source's own."""
    ids: pa.Array
    """r ids, each once."""
    probabilities: np.ndarray
    """r × k float32, rows sum to one; rows of NaN say nothing."""
    normalised: int
    """Rows whose sum was not one."""
    unused: list[str]
    """Columns that were not read."""


def read(file: OpinionFile, classes: list[str]) -> Opinion:
    """Read and check a file of opinions.

    Args:
        file: which, and where in it the ids and the classes stand.
        classes: names of the classes, in their order.

    Raises:
        BadInput: it is missing or malformed, lacks a column, names a sample twice, or has no probabilities in it.
    """
    path = existing_file(file.path, "a file of opinions")
    where = f"opinions {path}"
    ids, blocks, names, id_column, columns = [], [], [], "", []
    for batch in _batches(path, where):
        if not columns:
            names = batch.table.schema.names
            id_column, columns = _id_column(file, names, where), _class_columns(file, classes, names, where)
        ids.append(as_text(batch.table.column(id_column)).cast(pa.string()))
        blocks.append(_numbers(batch, columns, where))
    every = pa.concat_arrays(ids) if ids else pa.array([], pa.string())
    _check_ids(every, id_column, where)
    probabilities, normalised = _normalised(np.concatenate(blocks), every, where)
    return Opinion(
        name=file.title,
        where=where,
        by="sample_id" if id_column == "sample_id" and file.id is None else "source_id",
        ids=every,
        probabilities=probabilities,
        normalised=normalised,
        unused=[name for name in names if name not in {id_column, *columns}],
    )


def _batches(path: Path, where: str) -> Iterator[Batch]:
    """The rows of a table, told by its suffix; one malformed row refuses the file."""
    tables = {
        suffix: part for part in READERS.components.values() if issubclass(part, Tabular) for suffix in part.suffixes
    }
    part = tables.get(Path(path.name.lower().removesuffix(".gz")).suffix)
    if part is None:
        raise BadInput(
            where=where,
            expected=f"one of the suffixes {', '.join(tables)}",
            got=path.suffix or "none",
            do="Rename the file, or write it as CSV, Parquet or JSON lines.",
        )
    for batch in part.model_validate({"path": path}).batches(path):
        if batch.rejects:
            reject = batch.rejects[0]
            raise BadInput(
                where=f"{where}, row {reject.row}",
                expected="well-formed rows",
                got=f"{reject.reason}: {reject.detail}",
                do="Mend or write the file again; rows count from 0.",
            )
        yield batch


def _id_column(file: OpinionFile, names: list[str], where: str) -> str:
    wanted = ["sample_id", "source_id"] if file.id is None else [file.id]
    column = next((name for name in wanted if name in names), None)
    if column is None:
        raise BadInput(
            where=where,
            expected=f"a column of ids, {' or '.join(wanted)}",
            got=f"the columns {', '.join(names[:20])}",
            do=f'Name it: --opinions \'{{"path": "{file.path}", "id": "COLUMN"}}\' for the ids of --reader.id.',
        )
    return column


def _class_columns(file: OpinionFile, classes: list[str], names: list[str], where: str) -> list[str]:
    unknown = sorted(set(file.columns) - set(classes))
    if unknown:
        raise BadInput(
            where=f"{where}, option columns",
            expected=f"classes of the samples: {', '.join(classes[:20])}",
            got=", ".join(unknown),
            do="Name in columns only classes that the training labels have.",
        )
    columns = [file.columns.get(name, name) for name in classes]
    missing = [column for column in dict.fromkeys(columns) if column not in names]
    if missing:
        raise BadInput(
            where=where,
            expected=f"a column of probabilities for each of {len(classes)} classes",
            got=f"no column {', '.join(missing[:10])} among {', '.join(names[:20])}",
            do=f'Name it: --opinions \'{{"path": "{file.path}", "columns": {{"CLASS": "COLUMN"}}}}\'; write zeros for '
            "a class that the model does not know.",
        )
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise BadInput(
            where=f"{where}, option columns",
            expected="a column of its own for each class",
            got=f"{twice[0]} for several",
            do="Name each column once.",
        )
    return columns


def _numbers(batch: Batch, columns: list[str], where: str) -> np.ndarray:
    """Values of the named columns, rows × k float64; NaN where a cell is empty."""

    def reject(bad: np.ndarray, reason: str, detail: str, values: pa.Array | None = None) -> None:
        if reason == "not a number" and bad.any():
            at = int(bad.argmax())
            got = repr(values[at].as_py()) if values is not None else reason
            raise BadInput(
                where=f"{where}, row {batch.rows[at]}, {detail}",
                expected="a probability",
                got=got,
                do="Write numbers, or leave the whole row empty where the model says nothing; rows count from 0.",
            )

    values = [as_numbers(batch.table.column(name), name, reject).cast(pa.float64()) for name in columns]
    return np.stack([pc.fill_null(column, np.nan).to_numpy(zero_copy_only=False) for column in values], 1)


def _check_ids(ids: pa.Array, column: str, where: str) -> None:
    if not len(ids):
        raise BadInput(where=where, expected="a row for each sample", got="none", do="Check the path.")
    if ids.null_count:
        at = int(ids.is_null().to_numpy(zero_copy_only=False).argmax())
        raise BadInput(
            where=f"{where}, row {at}, column {column}",
            expected="an id",
            got=f"none, and so in {ids.null_count:,} rows",
            do="Give every row its id, or leave it out; rows count from 0.",
        )
    counts = pc.value_counts(ids)
    several = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(several):
        raise BadInput(
            where=f"{where}, column {column}",
            expected="each id once",
            got=f"{len(several):,} ids several times, {several[0]['values']} for one",
            do="Keep one row for each sample, or give two models as two files.",
        )


def _normalised(values: np.ndarray, ids: pa.Array, where: str) -> tuple[np.ndarray, int]:
    """Rows that sum to one, and how many did not."""
    missing = np.isnan(values)
    empty = missing.all(1)
    sums = np.where(empty, 1.0, np.nan_to_num(values, nan=0.0).sum(1))
    off = np.abs(sums - 1)
    bad = (missing.any(1) & ~empty) | (np.nan_to_num(values) < 0).any(1) | ~(off <= _NORMALISED)
    if bad.any():
        at = int(bad.argmax())
        shown = ", ".join("nothing" if np.isnan(value) else f"{value:.4g}" for value in values[at, :10])
        raise BadInput(
            where=f"{where}, id {ids[at]}",
            expected="in each row a probability of every class that sum to 1, or none at all",
            got=f"{shown}{' …' if values.shape[1] > 10 else ''}; {int(bad.sum()):,} of {len(values):,} rows are none",
            do="Take the softmax of scores, or divide each row by its sum, and write 0 for a class without.",
        )
    return (values / sums[:, None]).astype(np.float32), int((off > _ROUNDED).sum())
