"""What trees of the columns of a table say against the given label."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tasks.core.errors import BadConfig
from tasks.dataset.payload import payload_of
from tasks.dataset.samples import load_cached
from tasks.scoring.canary_evidence import CanaryEvidence
from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence

# One tree a class and an iteration: so many classes take as long as the rest of a run.
_MOST_CLASSES = 100
# More iterations learn the wrong labels of those that are trained on; an early stop would hold out more samples, by a
# draw of its own.
_OPTIONS: dict[str, Any] = {"max_iter": 60, "early_stopping": False, "random_state": 0}
# Added to every probability before its logarithm, so that none is 0: a leaf of 20 samples knows no more.
_LEAST = 1e-3
# Rows that are asked about at a time.
_ROWS = 1 << 15


class BoostedTrees(Detector, kind="boosted_trees"):
    """max_{j≠y} log p_j − log p_y of gradient-boosted trees that never saw the sample, the folds those of the networks.

    On the columns of a table such trees are better than a network, and err otherwise (Grinsztajn, Oyallon & Varoquaux,
    "Why do tree-based models still outperform deep learning on tabular data?", NeurIPS 2022). The trees are scikit-
    learn's ``HistGradientBoostingClassifier``, fitted on samples in the base under the labels that were given.
    """

    sees: ClassVar[tuple[str, ...]] = ("inputs",)
    compares: ClassVar[bool] = True

    @property
    def relative(self) -> bool:
        """The trees learn from the labels that were given."""
        return True

    def why_not(self, evidence: Evidence) -> str | None:
        """Pictures, texts and vectors of one column have no columns to split at."""
        payload = payload_of(evidence.samples)
        if payload.kind != "array" or payload.is_image or len(payload.columns) < 2:
            return "inputs that are no columns of a table"
        if len(evidence.classes) > _MOST_CLASSES:
            return f"{len(evidence.classes):,} classes, more than {_MOST_CLASSES}"
        if len(np.unique(evidence.folds)) < 2:
            return "a single fold, so that no sample is held out"
        return None

    def score(self, evidence: Evidence) -> np.ndarray:
        """In nats.

        Raises:
            BadConfig: these inputs have no columns, or nothing is held out.
        """
        from tasks.kernels.margins import margin

        reason = self.why_not(evidence)
        if reason:
            raise BadConfig(
                where=f"detector {self.name}",
                expected="a table with two folds or more",
                got=reason,
                do="Choose another detector with --detectors.",
            )
        return margin(np.log(self._probabilities(evidence) + _LEAST), evidence.labels)

    def score_canaries(self, canaries: CanaryEvidence) -> np.ndarray:
        """By the trees of the labels that were given."""
        from tasks.kernels.margins import margin

        return margin(np.log(self._probabilities(canaries)[canaries.ranks] + _LEAST), canaries.labels)

    def _probabilities(self, evidence: Evidence) -> np.ndarray:
        original = evidence.with_given_labels
        return evidence.once(str(self.kind), lambda: _held_out_probabilities(original))


def _held_out_probabilities(evidence: Evidence) -> np.ndarray:
    """What trees of the other folds say of each class, n × k float32; 0 of a class that they have not seen."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    inputs = load_cached(evidence.run, evidence.samples, "train")
    x, order = inputs.x.numpy(), np.argsort(inputs.ids, kind="stable")
    p = np.zeros((len(evidence), len(evidence.classes)), np.float32)
    for fold in np.unique(evidence.folds):
        held_out = evidence.folds == fold
        fitted = ~held_out & evidence.in_base
        classes, labels = _by_appearance(evidence.labels[fitted])
        if len(classes) < 2:
            p[np.ix_(held_out, classes)] = 1
            continue
        trees = HistGradientBoostingClassifier(**_OPTIONS)
        trees.fit(x[order[fitted]], labels)
        rows = np.flatnonzero(held_out)
        # In pieces: scikit-learn widens each to float64.
        for part in np.split(rows, range(_ROWS, len(rows), _ROWS)):
            p[np.ix_(part, classes)] = trees.predict_proba(x[order[part]])
    return p


def _by_appearance(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes in the order in which they first appear, and each label's place among them.

    What rounding does to a sum over classes then does not depend on the order of their names.
    """
    classes, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return classes[order], np.argsort(order)[inverse]
