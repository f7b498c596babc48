"""Which labels of a held-out split are suspect, by two observers that were told none of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.kernels.suggestion import suggest_labels
from tasks.pipeline.schemas import EXAMINATION
from tasks.scoring.wrongness import Observations, wrongness_of

SUSPECT = 0.5
"""From this P(wrong) on a label is suspect; of its lower reading, where the data carry no figure."""

# Samples that another label is imagined for: enough to know how often one is caught, whatever the split's size.
_ALTERNATIVES = 2000


def draw_alternatives(labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, another class for each): what canaries are among the training samples.

    No observer has seen any label of these samples, so another label needs no planting: it is compared with what the
    observers say. Drawn uniformly from the other classes.
    """
    generator = np.random.default_rng(0)
    rows = np.sort(generator.permutation(len(labels))[:_ALTERNATIVES])
    return rows, (labels[rows] + generator.integers(1, classes, len(rows))) % classes


def examine_labels(
    ids: np.ndarray, split: str, labels: np.ndarray, probabilities: np.ndarray, votes: np.ndarray, classes: list[str]
) -> pa.Table:
    """P(wrong) of each label of a split (tasks/scoring/wrongness.py), and why.

    Args:
        ids: n sample ids.
        split: theirs.
        labels: n given classes.
        probabilities: n × k, of networks that were trained on none of them.
        votes: n × k, shares of the labels of the nearest training samples.
        classes: the names of the classes.

    Returns:
        Schema ``EXAMINATION``, most suspect first; equal ones by sample_id.
    """
    order = np.argsort(ids, kind="stable")  # the rows drawn must not depend on the order of the input
    ids, labels, probabilities, votes = (array[order] for array in (ids, labels, probabilities, votes))
    indices, alternatives = draw_alternatives(labels, len(classes))
    observations = Observations(probabilities, votes, labels, indices, alternatives)
    wrongness = wrongness_of(observations)
    wrong, least = wrongness.stated_probability, wrongness.low
    predicted, rows = observations.predicted, np.arange(len(labels))
    other, _ = suggest_labels(probabilities, votes, labels)
    names, unknown = pa.array(classes, pa.string()), pa.nulls(len(labels), pa.float64())
    columns = {
        "sample_id": pa.array(ids, pa.string()),
        "split": pa.array([split] * len(ids), pa.string()),
        "label": names.take(pa.array(labels)),
        "predicted": names.take(pa.array(predicted)),
        "p_label": pa.array(probabilities[rows, labels].astype(np.float64)),
        "p_predicted": pa.array(probabilities[rows, predicted].astype(np.float64)),
        "p_wrong": unknown if wrong is None else pa.array(wrong, mask=~wrongness.recognised),
        "suggested_label": names.take(pa.array(other, mask=other < 0)),
        "suspect": pa.array((least if wrong is None else wrong) >= SUSPECT),
    }
    reasons = _reasons(columns, votes[rows, labels], least, wrongness.recognised)
    columns["reason"] = pa.array(reasons, pa.string())
    first = np.lexsort([ids.astype(str), -(least if wrong is None else wrong)])
    return pa.table(columns, schema=EXAMINATION).take(pa.array(first))


def _reasons(columns: dict[str, pa.Array], shares: np.ndarray, least: np.ndarray, recognised: np.ndarray) -> list[str]:
    names = ("label", "p_label", "predicted", "p_predicted", "p_wrong", "suspect", "suggested_label")
    reasons = []
    about = (shares.tolist(), least.tolist(), recognised.tolist())
    rows = zip(*(columns[name].to_pylist() for name in names), *about, strict=True)
    for label, p_label, predicted, p_predicted, p_wrong, suspect, other, share, at_least, is_recognised in rows:
        if not suspect:
            why = "these data carry no figure" if is_recognised else f"the observers do not recognise class {label}"
            unknown = f"not known: {why}"
            reasons.append(unknown if p_wrong is None else f"believed: wrong with p = {p_wrong:.3f}")
            continue
        reasons.append(
            f"given {label} (p = {p_label:.3f}), models that saw no held-out label say {predicted} "
            f"(p = {p_predicted:.3f}), {share:.0%} of the nearest training samples bear {label}; "
            + (f"wrong with p = {p_wrong:.3f}" if p_wrong is not None else f"wrong with p of {at_least:.3f} or more")
            + (f", {other} suggested" if other else "")
        )
    return reasons
