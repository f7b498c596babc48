"""One-class SVM: how far a gradient lies from gradients that are taken to be in order."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.core.errors import BadConfig
from tasks.gradients.shards import GradientShards
from tasks.scoring.detectors.dense import Dense
from tasks.scoring.evidence import Evidence


class OCSVM(Dense, kind="ocsvm"):
    """1 − f(g)/ρ, f(g) = Σ_i α_i exp(−‖g − r_i‖² / width): 0 where the SVM draws its border (Schölkopf et al., 2001).

    That is −``decision_function`` over scikit-learn's offset ρ: folds with references of different sizes compare. The
    references r, for each fold with an SVM of its own:

        validation  gradients of the validation split by the fold's network
        low_loss    the half of the fold's own samples whose held-out loss is lowest
        auto        validation where the run has such a split, otherwise low_loss

    Each column is first divided by its standard deviation among the fold's samples, and not among its references:
    theirs may be so small that every other sample lies infinitely far away.

    Held are n × width float32, and as much of at most ``references`` gradients a fold; fitting takes their square.
    """

    sees: ClassVar[tuple[str, ...]] = ("gradients", "reference")
    reference: Literal["auto", "validation", "low_loss"] = Field(
        default="auto",
        description="Gradients that are taken to be in order: of the validation split, or of the half of each fold's "
        "samples with the lowest held-out loss; auto takes the former where there is one.",
    )
    nu: float = Field(default=0.1, gt=0, le=1, description="Share of the references that may lie outside.")
    references: int = Field(
        default=2000, ge=2, description="References of each fold, at most; drawn by the seed where there are more."
    )

    @property
    def affordable(self) -> int:
        """Distances mean less the more values they are taken over."""
        return 128

    def score(self, evidence: Evidence) -> np.ndarray:
        """At most 1; above 0 outside the border."""
        gradients, references = self._references(evidence)
        rows = self.matrix(evidence.gradients)
        suspicion = np.empty(len(rows), np.float64)
        for fold in np.unique(evidence.folds):
            members = np.flatnonzero(evidence.folds == fold)
            own = gradients is evidence.gradients
            reference = rows[references[fold]] if own else self.matrix(gradients, references[fold])
            suspicion[members] = _outside(rows[members], reference, self.nu, evidence.in_base[members])
        return suspicion

    def _references(self, evidence: Evidence) -> tuple[GradientShards, dict[int, np.ndarray]]:
        """Gradients, and which of them each fold refers to.

        Raises:
            BadConfig: there is no validation split and it was asked for.
        """
        generator = np.random.default_rng(self.seed)
        split = None if self.reference == "low_loss" else evidence.reference
        split = split if split is not None and len(split) else None
        if split is None and self.reference == "validation":
            raise BadConfig(
                where=f"detector {self.name}, option reference",
                expected="a validation split, to refer to",
                got="a run without one",
                do="Set the detector's reference to low_loss, or name a validation split in the source.",
            )
        gradients = evidence.gradients if split is None else split
        networks, loss = gradients.scalar("fold"), gradients.scalar("loss")
        references = {}
        for fold in np.unique(evidence.folds):
            members = np.flatnonzero(networks == fold)
            if split is None:
                members = members[evidence.in_base[members]]
                half = np.argsort(loss[members], kind="stable")[: (len(members) + 1) // 2]
                members = members[np.sort(half)]
            if len(members) > self.references:
                members = np.sort(generator.choice(members, self.references, replace=False))
            references[int(fold)] = members
        return gradients, references


def _outside(rows: np.ndarray, reference: np.ndarray, nu: float, in_base: np.ndarray) -> np.ndarray:
    """1 − f(g)/ρ of each row, scaled by the spread of the rows in the base."""
    from sklearn.svm import OneClassSVM

    spread = rows[in_base].std(0)
    spread[spread == 0] = 1
    svm = OneClassSVM(nu=nu, gamma=1 / rows.shape[1]).fit(reference / spread)
    return 1 - svm.score_samples(rows / spread) / svm.offset_
