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
    table = pq.read_table(exhibits.flags, columns=columns)
    table = table.filter(pc.invert(table["flag"]))
    order: list[tuple[str, Any]] = [("p_wrong", "ascending"), ("rank", "descending")]
    table = table.sort_by(order)
    names, given = table["sample_id"], table["label"].combine_chunks().dictionary_encode()
    codes = given.indices.to_numpy(zero_copy_only=False)
    sure = {}
    for code, label in enumerate(given.dictionary.to_pylist()):
        if label in labels:
            sure[label] = tuple(names.take(np.flatnonzero(codes == code)[:_SURE]).to_pylist())
    return sure


def _nearest(votes: Path | None, ids: list[str]) -> Names:
    """sample_id → its nearest neighbours, by the ranks among the sorted ids that the votes name."""
    if votes is None:
        return dict.fromkeys(ids, ())
    table = pq.read_table(votes, columns=["sample_id", "neighbours"])
    every = table["sample_id"].combine_chunks()
    index = pc.index_in(pa.array(ids, pa.string()), value_set=every)
    rows = table["neighbours"].combine_chunks().take(index).to_pylist()
    wanted = [[] if ranks is None else ranks[:_NEAREST] for ranks in rows]
    return {
        name: tuple(every.take(pa.array(ranks, pa.int64())).to_pylist())
        for name, ranks in zip(ids, wanted, strict=True)
    }
