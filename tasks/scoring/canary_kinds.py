"""How much each canary counts in the fusion: as much as errors of its kind are seen among the labels.

Canaries are planted before anything is known of the noise, every kind of error among them. A signal that finds one kind
may tell against another: neighbours find a label that was added to a set, and find sets right that have forgotten one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tasks.kernels.pieces import pieces
from tasks.kernels.set_errors import forgotten_share, shares_of_changes
from tasks.kernels.transitions import pair_shares
from tasks.scoring.wrongness import observations_of

if TYPE_CHECKING:
    from tasks.scoring.canary_evidence import CanaryEvidence

# A kind that is not seen at all counts for next to nothing; where no canary is of the kinds seen, all count alike.
_LEAST = 1e-3
# Sample-label pairs that are looked at, at most.
_MOST = 1 << 24


def canary_kinds(canaries: CanaryEvidence, systematic: float) -> np.ndarray:
    """The weight of each canary, > 0, m.

    Of classes 1 − c + c x, x how much noise its pair of classes has beside other pairs; of sets of labels by whether
    labels are rather forgotten or added; of numbers 1.

    Args:
        canaries: in their own order.
        systematic: c of the fusion, by how few pairs of classes the noise keeps to.
    """
    original = canaries.with_given_labels
    if original.target.kind == "labels":
        return np.maximum(_by_changes(canaries), _LEAST)
    if not systematic:
        return np.ones(len(canaries.ids))
    shares = pair_shares(observations_of(original).pairs, original.labels[canaries.ranks], canaries.labels)
    return np.maximum(1 - systematic + systematic * shares, _LEAST)


def _by_changes(canaries: CanaryEvidence) -> np.ndarray:
    original = canaries.with_given_labels
    labels = original.outputs.shape[1]
    rows = np.arange(0, len(original), max(1, -(-len(original) * labels // _MOST)))
    forgotten = forgotten_share(original.outputs[rows].numpy(), _members(canaries, original.texts.take(pa.array(rows))))
    planted = canaries.canaries.text.take(pa.array(np.argsort(canaries.canary_ranks)))
    shares = [
        shares_of_changes(_members(canaries, canaries.texts[some]), _members(canaries, planted[some]), forgotten)
        for some in pieces(len(planted), labels, _MOST)
    ]
    return np.concatenate([np.empty(0), *shares])


def _members(canaries: CanaryEvidence, labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
    values = canaries.target.values(labels)
    if values is None:
        raise TypeError(f"the target {canaries.target.kind} has no values")
    return values.numpy() > 0
