"""Samples with the same inputs, and which of them bear another label: the surest wrong labels there are."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tasks.core.plugins import Component
from tasks.core.sql import connect, literal
from tasks.dataset.sample_ids import CONTENT_LETTERS
from tasks.pipeline.schemas import SAMPLES

COPIES = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("other_id", pa.string(), nullable=False),
        # exact: the same inputs. repeat: the same, in a table of few combinations of values. near: nearly the same.
        # alike: near, where most pictures are: a fixed camera took them, or they are a series.
        pa.field("kind", pa.string(), nullable=False),
        pa.field("distance", pa.float64(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("other_split", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("other_label", pa.string(), nullable=False),
    ]
)

# Different content hashes of inputs that are nearly equal, each pair once.
NEAR_CONTENTS = pa.schema(
    [
        pa.field("content", pa.string(), nullable=False),
        pa.field("other", pa.string(), nullable=False),
        pa.field("distance", pa.float64(), nullable=False),
    ]
)

# Samples that have a copy on the other side of the border between training and what is held out.
LEAKS = pa.schema(
    [COPIES.field(name) for name in ("sample_id", "other_id", "kind", "distance", "split", "other_split")]
)

# Training samples that are left out for a copy, as a decision says it.
LEFT_OUT = pa.schema(
    [
        *(COPIES.field(name) for name in ("sample_id", "other_id", "kind", "distance", "split")),
        *(SAMPLES.field(name) for name in ("label", "source", "row", "source_id")),
        pa.field("reason", pa.string(), nullable=False),
    ]
)


class Copies(Component):
    """Which copies are looked for, and what becomes of them."""

    near: bool = Field(
        default=True,
        description="Look for near copies too: pictures in another format, size or quality, texts with other marks or "
        "a few other words. They share a fold, as equal ones do.",
    )
    remove: Literal["none", "leaks", "train"] = Field(
        default="none",
        description="Copies that are left out, by decision: none; leaks, the training copies of held-out samples; "
        "train, these and all but one of the training copies under one label.",
    )


# Of each content the first sample of its first label, and that of its second: every sample but the first is beside one
# of the two, and beside one of another label where there is one. Pairs are as many as samples, not as their square.
_PAIRS = """
    WITH samples AS (
        SELECT sample_id, split_part(sample_id, '-', 1) AS content,
               coalesce(TRY_CAST(split_part(sample_id, '-', 2) AS BIGINT), 0) AS copy, split, label
        FROM read_parquet({files})
        QUALIFY count(*) OVER (PARTITION BY split_part(sample_id, '-', 1)) > 1),
    firsts AS (
        SELECT content, label, min(copy) AS copy,
               row_number() OVER (PARTITION BY content ORDER BY min(copy)) AS nth_label
        FROM samples GROUP BY content, label),
    pairs AS (
        SELECT samples.*, CASE WHEN samples.label = first.label THEN coalesce(second.copy, first.copy)
                          ELSE first.copy END AS other_copy
        FROM samples JOIN firsts AS first ON first.content = samples.content AND first.nth_label = 1
        LEFT JOIN firsts AS second ON second.content = samples.content AND second.nth_label = 2)
    SELECT pairs.sample_id, other.sample_id AS other_id, {kind} AS kind, 0.0::DOUBLE AS distance,
           pairs.split, other.split AS other_split, pairs.label, other.label AS other_label
    FROM pairs JOIN samples AS other ON other.content = pairs.content AND other.copy = pairs.other_copy
    WHERE pairs.copy <> pairs.other_copy
    ORDER BY pairs.content, pairs.copy
"""


def copies_of(files: list[Path], scratch: Path, *, are_repeats: bool) -> pa.Table:
    """Schema ``COPIES``: each sample that has copies beside one of them, of another label if there is one.

    Args:
        files: of all samples, under their final ids and labels.
        scratch: a folder for what does not fit into memory.
        are_repeats: whether equal inputs are repeats of a combination of values (tasks/ingestion/splits.py).
    """
    names = "[" + ", ".join(literal(file) for file in files) + "]"
    kind = "'repeat'" if are_repeats else "'exact'"
    with connect(scratch) as db:
        return db.sql(_PAIRS.format(files=names, kind=kind)).to_arrow_table().cast(COPIES)


def contradictions_of(copies: pa.Table) -> dict[str, int]:
    """How many samples have inputs that bear another label elsewhere, and how many different inputs that is true of."""
    differ = copies.filter(pc.not_equal(copies["label"], copies["other_label"]))
    contents = pc.utf8_slice_codeunits(differ["sample_id"], 0, CONTENT_LETTERS)
    return {"samples": differ.num_rows, "contents": len(pc.unique(contents))}
