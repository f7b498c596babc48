"""Beside its suspicion, of each sample: whether it is likely rare and valid, and which label it should bear."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.kernels.rarity import confirmed_neighbours, far_from_class
from tasks.kernels.suggestion import suggest_labels
from tasks.scoring.wrongness import Wrongness

if TYPE_CHECKING:
    from tasks.scoring.evidence import Evidence

# Far is whose neighbours of its own class are fewer than this quantile of the class: the rarest tenth.
_FAR = 0.1
# Neighbours s that must confirm a rare one, of the nearest 2s − 1: a majority of five (tasks/kernels/rarity.py).
_SUPPORT = 3

ADVICE = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("rare", pa.bool_(), nullable=False),
        pa.field("support", pa.int64(), nullable=False),
        pa.field("recognised", pa.bool_(), nullable=False),
        pa.field("p_wrong", pa.float64()),
        pa.field("suggested_label", pa.string()),
        pa.field("p_suggested", pa.float64()),
    ]
)
"""``support``: confirmed neighbours; ``p_suggested``: that the label is wrong and the suggested one is right."""


def advise(evidence: Evidence, wrongness: Wrongness | None) -> pa.Table:
    """Advice on every training sample, from held-out evidence alone.

    rare         far from its class, but of the nearest 2s − 1 at least s are confirmed (tasks/kernels/rarity.py),
                 s = 3. A cluster that is mislabelled as a whole looks just so.
    recognised   whether the observers know the class at all: of one that they do not, dissent is no evidence
    p_wrong      P(wrong) of tasks/scoring/wrongness.py; None in a run without canaries, and where the data carry none,
                 as of a class that is not recognised
    p_suggested  p_wrong · P(truly the suggested class | wrong)

    Returns:
        Schema ``ADVICE``, by sample_id.
    """
    predicted = evidence.logits.argmax(1)
    support = confirmed_neighbours(evidence.neighbours, evidence.labels, predicted, 2 * _SUPPORT - 1)
    far = far_from_class(evidence.votes, evidence.labels, predicted, _FAR)
    other, chance = suggest_labels(evidence.probabilities, evidence.votes, evidence.labels)
    names = evidence.target.suggestions(other, evidence.outputs, evidence.objective)
    names = pc.if_else(pc.equal(names, evidence.texts), pa.scalar(None, pa.string()), names)
    nothing = names.is_null().to_numpy(zero_copy_only=False)
    unknown = pa.nulls(len(evidence), pa.float64())
    stated = wrongness.stated_probability if wrongness else None
    recognised = np.ones(len(evidence), bool) if wrongness is None else wrongness.recognised
    wrong = unknown if stated is None else pa.array(stated, mask=~recognised)
    right = unknown if stated is None else pa.array(stated * chance, mask=nothing | ~recognised)
    rare = far & (support >= _SUPPORT)
    columns = [evidence.ids, *map(pa.array, (rare, support.astype(np.int64), recognised)), wrong, names, right]
    return pa.table(columns, schema=ADVICE)
