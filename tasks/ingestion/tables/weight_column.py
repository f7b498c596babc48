"""A column that says how much each row counts: how many people, or other units, it stands for."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tasks.core.errors import BadInput
from tasks.dataset.row_weights import weights_of
from tasks.ingestion.spool import Spool
from tasks.ingestion.tables.columns import RejectRows, as_numbers
from tasks.ingestion.tables.profile import without_markers

WeightColumn = Annotated[
    str | None,
    Field(
        description="Column of weights, of how many people or other units a row stands for: no input; a row's training "
        "loss counts by it."
    ),
]


def check_only_weights(name: str | None, named: Sequence[tuple[str, str]], where: str) -> None:
    """Refuse a column of weights that is something else as well.

    Args:
        name: of the column, if an option names one.
        named: every option that names a column, with the column.
        where: the source, for the message.

    Raises:
        BadInput: another option names it too.
    """
    others = [option for option, column in named if column == name and option != "weights"]
    if others:
        raise BadInput(
            where=f"{where}, option --reader.weights",
            expected="a column with no other role",
            got=f"{name}, which --reader.{others[0]} names too",
            do="Name the column that says how many people, or other units, a row stands for.",
        )


def reject_bad_weights(column: pa.Array, name: str, markers: tuple[str, ...], reject: RejectRows) -> None:
    """Reject rows whose weight is missing, no number, negative, NaN or infinite; 0 is a weight.

    Args:
        column: of a batch, as it came.
        name: of the column.
        markers: cells that hold no value, beside empty ones.
        reject: of the batch.
    """
    numbers = as_numbers(without_markers(column, markers), name, reject)
    bad = pc.fill_null(pc.less(numbers, 0), fill_value=False)
    reject(bad.to_numpy(zero_copy_only=False), "negative weight", f"column {name}", column)


def weight_facts(spool: Spool, column: str | None, where: str) -> dict[str, Any]:
    """What is known of the training rows' weights w; nothing without a column of them.

    Args:
        spool: the rows, with their splits.
        column: of the weights.
        where: the source, for messages.

    Returns:
        ``weight_column``; ``weight_range``: least, most, and effective, the rows of one weight that tell as much,
        (Σ w)² / Σ w² (Kish, 1965).

    Raises:
        BadInput: all of them are 0.
    """
    if column is None:
        return {}
    with spool.training_cells() as cells_of:
        weights = np.concatenate([weights_of(part) for part in cells_of(column)] or [np.zeros(0)])
    total = float(weights.sum())
    if not total:
        raise BadInput(
            where=f"{where}, option --reader.weights",
            expected="a training row with a weight above 0",
            got=f"0 in all {len(weights):,} of column {column!r}",
            do="Name another column, or leave --reader.weights out.",
        )
    effective = total**2 / float((weights**2).sum())
    about = {"least": float(weights.min()), "most": float(weights.max()), "effective": effective}
    return {"weight_column": column, "weight_range": about}
