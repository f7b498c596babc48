"""cleanlab's filter: which labels it would call issues."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tasks.core.errors import BadConfig
from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence


class ConfidentLearning(Detector, kind="confident_learning"):
    """1 − p_y, and 1 more for each sample that cleanlab's default filter calls an issue.

    So the budget ``threshold`` with the value 1 flags exactly its set: ``find_label_issues`` by ``prune_by_noise_rate``
    on the held-out probabilities (Northcutt, Jiang & Chuang, "Confident Learning", JAIR 2021). None whose p_y is the
    largest is among them, so an issue is above 1 always. Needs the extra ``cleanlab``.
    """

    sees: ClassVar[tuple[str, ...]] = ("probabilities",)

    def score(self, evidence: Evidence) -> np.ndarray:
        """Between 0 and 2."""
        from tasks.kernels.margins import self_confidence

        issues = _filter()(
            labels=evidence.labels,
            pred_probs=evidence.probabilities,
            filter_by="prune_by_noise_rate",
            n_jobs=1,
        )
        return self_confidence(evidence.probabilities, evidence.labels) + issues

    def facts(self, evidence: Evidence) -> dict[str, Any]:
        """How many issues there are."""
        return {"issues": int((evidence.score(self) > 1).sum())}


def _filter() -> Any:
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise BadConfig(
            where="detector confident_learning",
            expected="cleanlab",
            got=str(error),
            do="pip install -e '.[cleanlab]', or choose self_confidence, which needs no extra.",
        ) from error
    return find_label_issues
