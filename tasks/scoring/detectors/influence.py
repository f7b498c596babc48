"""What the influence detectors share: one fold's gradients at a time, a curvature with its damping, a reference.

A sample's gradient is taken by the network of its fold, which never saw it; gradients of two folds live in two
parameter spaces and never meet. Within a fold, influence is the effect of up-weighting a sample on the mean loss of a
reference set, in units of loss whatever the fold: positive = harmful (tasks/kernels/influence.py).

A fold's gradients are held in memory, of n samples n · c · (k + h1) float32 as factors and n · p whole; those of a
reference that is not all of them once more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.core.errors import BadArtefact, BadConfig
from tasks.gradients.shards import GradientShards
from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence

if TYPE_CHECKING:
    import torch

    from tasks.kernels.curvature import Curvature
    from tasks.kernels.gradients import Gradients
    from tasks.kernels.influence import Series


class Influence(Detector):
    """Scores fold by fold."""

    def score(self, evidence: Evidence) -> np.ndarray:
        """Influence of each sample within its fold."""
        suspicion = np.empty(len(evidence.folds), np.float64)
        for fold in np.unique(evidence.folds):
            members = np.flatnonzero(evidence.folds == fold)
            gradients = gradients_of(evidence.gradients, members, evidence.gradients.largest)
            suspicion[members] = self.of_fold(gradients, evidence, members).numpy()
        return suspicion

    def of_fold(self, gradients: Gradients, evidence: Evidence, members: np.ndarray) -> torch.Tensor:
        """Suspicion of one fold's samples, float64.

        Args:
            gradients: theirs.
            evidence: of all samples.
            members: where the fold's stand in it.
        """
        raise TypeError(f"{type(self).__name__} must define of_fold()")


class ReferenceInfluence(Influence):
    """Influence on the loss of a reference set."""

    reference: Literal["all", "agreed", "validation"] = Field(
        default="agreed",
        description="Whose mean loss is influenced: all of the fold's held-out samples, or those whose label its "
        "network predicts (all, if it predicts none), or the validation split (the reader's reference_path). Among "
        "all, mislabelled samples can outweigh the rest and turn the ranking round.",
    )

    @property
    def name(self) -> str:
        """Its column."""
        return f"{self.kind}_validation" if self.reference == "validation" else str(self.kind)

    def _reference(self, gradients: Gradients, evidence: Evidence, members: np.ndarray) -> Gradients:
        """The reference set's gradients.

        Raises:
            BadConfig: it is the validation split, and there is none.
        """
        import torch

        if self.reference == "validation":
            return self._validation_gradients(evidence, members)
        base = evidence.in_base[members]
        agrees = base & (evidence.probabilities[members].argmax(1) == evidence.labels[members])
        mask = base if self.reference == "all" or not agrees.any() else agrees
        return gradients if mask.all() else gradients.at(torch.from_numpy(np.flatnonzero(mask)))

    def _validation_gradients(self, evidence: Evidence, members: np.ndarray) -> Gradients:
        """Gradients of the validation split by the fold's network."""
        split = evidence.reference
        if split is None or not len(split):
            raise BadConfig(
                where=f"detector {self.name}, option reference",
                expected="a validation split, to refer to",
                got="a run without one",
                do="Set the detector's reference to agreed, or name samples with the reader's reference_path.",
            )
        rows = np.flatnonzero(split.scalar("fold") == evidence.folds[members[0]])
        return gradients_of(split, rows, split.largest)


class CurvatureInfluence(Influence):
    """Influence that takes the loss's curvature into account."""

    curvature: Literal["auto", "hessian", "fisher"] = Field(
        default="auto",
        description="Exact Hessian of the cross entropy in the head (needs factors of one checkpoint), or empirical "
        "Fisher; auto is the Hessian where it can be had, else the Fisher.",
    )
    damping: float = Field(default=0.1, gt=0, description="Added to the curvature, as a share of its mean eigenvalue.")

    def _curvature(self, gradients: Gradients, evidence: Evidence, members: np.ndarray) -> tuple[Curvature, float]:
        """(C, λ).

        Raises:
            BadConfig: these gradients have no exact Hessian.
        """
        import torch

        from tasks.kernels.curvature import Fisher, SoftmaxHessian
        from tasks.kernels.gradients import FactorGradients
        from tasks.kernels.influence import damping_of

        metadata = evidence.gradients.metadata
        terms = gradients.residual.shape[1] if isinstance(gradients, FactorGradients) else 0
        exact = terms == 1 and metadata.loss[0] == "cross_entropy"
        gradients, members = in_base(gradients, evidence, members), members[evidence.in_base[members]]
        curvature: Curvature = Fisher(gradients)
        if self.curvature == "hessian" and not exact:
            raise BadConfig(
                where=f"detector {self.name}, option curvature",
                expected="factors of one checkpoint's head and the cross entropy, for the exact Hessian",
                got=f"factors of {terms} checkpoints, loss {metadata.loss[0]}"
                if terms
                else "gradients without factors",
                do="Set the detector's curvature to fisher, or use --gradient.kind head at one checkpoint.",
            )
        if self.curvature != "fisher" and exact and isinstance(gradients, FactorGradients):
            probabilities = np.asarray(evidence.probabilities[members], np.float32)
            curvature = SoftmaxHessian(torch.from_numpy(probabilities), gradients.features[:, 0])
        return curvature, damping_of(curvature, self.damping)


class MatrixInfluence(CurvatureInfluence):
    """Curvature as a matrix."""

    max_parameters: int = Field(
        default=4096, ge=1, description="Refuse more parameters p: the matrix takes p² float64, twice."
    )

    def _small(self, gradients: Gradients) -> None:
        """Refuse what would take too long.

        Raises:
            BadConfig: there are more than ``max_parameters``.
        """
        p = gradients.parameters
        if p > self.max_parameters:
            raise BadConfig(
                where=f"detector {self.name}, option max_parameters",
                expected=f"gradients of at most {self.max_parameters:,} parameters",
                got=f"{p:,}, whose curvature is a matrix of {8 * p**2 / 2**30:.1f} GiB",
                do=f"Use the detector {self.instead}, a projection of the gradients, or raise max_parameters.",
            )

    @property
    def instead(self) -> str:
        """A detector that needs no matrix."""
        raise TypeError(f"{type(self).__name__} must define instead")


class SeriesInfluence(CurvatureInfluence):
    """Curvature inverted by a Neumann series."""

    batch: ClassVar[int | None] = None
    """Samples that each term's curvature is estimated on; None: all."""
    depth: int = Field(default=100, ge=1, description="Terms of the series.")
    seed: int = Field(
        default=0, description="Seed of the mini-batches, and of the estimate of the curvature's largest eigenvalue."
    )

    def _sum_series(self, sum_up: Callable[[Series, torch.Generator], torch.Tensor]) -> torch.Tensor:
        """Run it with the series' options; the same draws in every fold.

        Raises:
            BadConfig: the series diverges.
        """
        import torch

        from tasks.kernels.influence import DivergentSeries, Series

        generator = torch.Generator().manual_seed(self.seed)
        try:
            return sum_up(Series(self.depth, self.batch), generator)
        except DivergentSeries as error:
            raise BadConfig(
                where=f"detector {self.name}",
                expected="a curvature whose largest eigenvalue can be estimated",
                got=f"one at whose estimate {error} grows",
                do="Raise the detector's damping, or use datainf, which sums no series.",
            ) from error


def in_base(gradients: Gradients, evidence: Evidence, members: np.ndarray) -> Gradients:
    """Those of one fold's samples that the networks' own run had: curvature is measured on these."""
    import torch

    base = evidence.in_base[members]
    return gradients if base.all() else gradients.at(torch.from_numpy(np.flatnonzero(base)))


def gradients_of(gradients: GradientShards, members: np.ndarray, largest: int) -> Gradients:
    """The gradients of some samples, float32, as factors where they are stored so.

    Args:
        gradients: of all samples.
        members: where the chosen ones stand among them.
        largest: bytes the caller allows them to take.

    Raises:
        BadArtefact: they would take more.
    """
    import torch

    from tasks.kernels.gradients import FactorGradients, Whole

    names = ("residual", "features") if gradients.factored else ("gradient",)
    width = sum(gradients.widths[name] for name in names)
    if 4 * width * len(members) > largest:
        raise BadArtefact(
            where="the gradients of one fold",
            expected=f"at most {largest / 2**30:.1f} GiB",
            got=f"{len(members):,} × {width:,} float32 = {4 * width * len(members) / 2**30:.1f} GiB",
            do="Use a projection of the gradients or more folds, leave lissa out of fusion's signals, or raise "
            "memory-gib.",
        )
    rows = gradients.rows(members, *names)
    columns = [torch.from_numpy(rows[name].astype(np.float32, copy=False)) for name in names]
    if not gradients.factored:
        return Whole(columns[0])
    layout: Any = gradients.metadata.joined
    residual, features = (column.unflatten(1, (gradients.terms, -1)) for column in columns)
    return FactorGradients(residual, features, layout)
