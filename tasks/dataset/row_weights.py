"""Weights of rows in a training loss: Σ_i w_i ℓ_i / Σ_i w_i over the rows that a network is trained on.

Weights are divided by their mean over those rows, once, and a batch's loss is the mean of (w_i / w̄) ℓ_i. So learning
rate and weight decay mean what they mean without weights, a batch of rows of weight 0 divides nothing by 0, and weights
that are all 1 multiply by exactly 1. Gradients of samples, dynamics and standardisation are of rows and not of weights:
whether a label is wrong does not depend on how many people its row stands for.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import BadInput

if TYPE_CHECKING:
    import torch

    from tasks.dataset.samples import Inputs


def weights_of(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column of weights as a source writes them, numbers or text of numbers, as float64."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not pa.types.is_primitive(column.type) and not pa.types.is_decimal(column.type):
        column = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def weights_in(tables: list[pa.Table], column: str) -> torch.Tensor:
    """The weights of all rows of some tables, float64."""
    import torch

    return torch.from_numpy(np.concatenate([weights_of(table[column]) for table in tables] or [np.zeros(0)]))


def scaled_weights(inputs: Inputs, rows: np.ndarray) -> torch.Tensor | None:
    """w / w̄ of all n ``inputs``, float32, where w̄ is the mean of those at ``rows``; None where they have no weights.

    Raises:
        BadInput: all of those are 0.
    """
    return None if inputs.weights is None else (inputs.weights / mean_weight(inputs.weights, rows)).float()


def mean_weight(weights: torch.Tensor, rows: np.ndarray) -> float:
    """w̄, the mean weight of the samples ``rows``.

    Args:
        weights: n, float64.
        rows: positions.

    Raises:
        BadInput: it is 0.
    """
    import torch

    mean = float(weights[torch.from_numpy(rows)].mean())
    if not mean > 0:
        raise BadInput(
            where="option --reader.weights",
            expected="a weight above 0 among the rows that a network is trained on",
            got=f"0 in all {len(rows):,} of them",
            do="Use fewer folds (--folds), or name another column of weights.",
        )
    return mean
