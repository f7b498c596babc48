"""Samples to compare a suspect one with: sure ones of both its classes, and its nearest neighbours."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.report.exhibits import Exhibits, Face

# Of each class, and of each sample.
_SURE, _NEAREST = 3, 5
# Longer side of a picture, and what it takes, encoded.
_LONGEST, _BYTES = 112, 4_000
# Rows of a table that are looked at, of all that it has.
_ROWS = 1 << 14

Names = dict[str, tuple[str, ...]]


def companions_of(
    exhibits: Exhibits, suspects: list[tuple[str, str, str]], room: int
) -> tuple[Names, Names, dict[str, Face]]:
    """Whom to compare each suspect with.

    Args:
        exhibits: of the run.
        suspects: (sample_id, given label, suggested label or nothing) of each, by rank.
        room: bytes that all pictures together may take; who finds none is left out, the least suspect first.

    Returns:
        (sure samples by suspect, those of the given label first; neighbours by suspect; the faces of both).
    """
    sure_of = _sure(exhibits, {label for _, given, suggested in suspects for label in (given, suggested)})
    sure = {name: (*sure_of.get(given, ()), *sure_of.get(other, ())) for name, given, other in suspects}
    near = _nearest(exhibits.votes, [name for name, _, _ in suspects])
    wanted = dict.fromkeys(name for names in (sure, near) for each in names.values() for name in each)
    faces = exhibits.faces(list(wanted)[: max(0, room // _BYTES)], _LONGEST)
    shown = {name: faces[name] for name in wanted if name in faces}
    return _among(sure, shown), _among(near, shown), shown


def _among(names: Names, shown: dict[str, Face]) -> Names:
    return {name: tuple(each for each in others if each in shown) for name, others in names.items()}


def _sure(exhibits: Exhibits, labels: set[str]) -> Names:
    """label → the training samples under it that are least suspect; none where labels are no classes."""
    if not exhibits.labels:
        return {}
    columns = ["sample_id", "label", "rank", "p_wrong", "flag"]
    wanted = pa.array(sorted(labels), pa.string())
    sure: pa.Table | None = None
    with pq.ParquetFile(exhibits.flags) as file:
        for batch in file.iter_batches(_ROWS, columns=columns):
            some = batch.filter(pc.and_(pc.invert(batch["flag"]), pc.is_in(batch["label"], value_set=wanted)))
            part = pa.Table.from_batches([some])
            sure = _least_suspect(part if sure is None else pa.concat_tables([sure, part]))
    rows = [] if sure is None else sure.select(["label", "sample_id"]).to_pylist()
    return {
        label: tuple(row["sample_id"] for row in rows if row["label"] == label)
        for label in dict.fromkeys(row["label"] for row in rows)
    }


def _least_suspect(table: pa.Table) -> pa.Table:
    """Of each label the least suspect rows, the least first."""
    order: list[tuple[str, Any]] = [("p_wrong", "ascending"), ("rank", "descending")]
    table = table.sort_by(order)
    codes = table["label"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    firsts = (np.flatnonzero(codes == code)[:_SURE] for code in np.unique(codes))
    return table.take(pa.array(np.sort(np.concatenate([np.zeros(0, np.int64), *firsts]))))


def _nearest(votes: Path | None, ids: list[str]) -> Names:
    """sample_id → its nearest neighbours, by the ranks among the sorted ids that the votes name."""
    if votes is None:
        return dict.fromkeys(ids, ())
    ranks_of: dict[str, list[int]] = {name: [] for name in ids}
    names = pa.array(ids, pa.string())
    with pq.ParquetFile(votes) as file:
        for batch in file.iter_batches(_ROWS, columns=["sample_id", "neighbours"]):
            batch = batch.filter(pc.is_in(batch["sample_id"], value_set=names))
            ranks_of |= zip(batch["sample_id"].to_pylist(), batch["neighbours"].to_pylist(), strict=True)
    nearest = {name: ranks[:_NEAREST] for name, ranks in ranks_of.items()}
    name_of = _names_at(votes, np.unique([rank for ranks in nearest.values() for rank in ranks]).astype(np.int64))
    return {name: tuple(name_of[rank] for rank in ranks) for name, ranks in nearest.items()}


def _names_at(votes: Path, ranks: np.ndarray) -> dict[int, str]:
    """The names that stand at these places of a sorted table."""
    names: dict[int, str] = {}
    first = 0
    with pq.ParquetFile(votes) as file:
        for batch in file.iter_batches(_ROWS, columns=["sample_id"]):
            some = ranks[slice(*np.searchsorted(ranks, [first, first + batch.num_rows]))]
            names |= zip(some.tolist(), batch["sample_id"].take(pa.array(some - first)).to_pylist(), strict=True)
            first += batch.num_rows
    return names
