"""All that cross-fitting leaves of the training samples: what every detector, budget and trace is made from."""

from __future__ import annotations

from tasks.pipeline.artefacts import Artefact, Bundle, Run, artefact_list
from tasks.pipeline.recorded_run import reference, stages_of
from tasks.planning.plan import Plan


class CrossFit(Bundle):
    """Training samples, the networks that never saw them, and their gradients by those networks."""

    samples: Artefact
    """The training samples alone (``split_of``)."""
    plan: Plan
    votes: Artefact
    checkpoints: list[Artefact]
    gradients: list[Artefact]
    opinions: Artefact | None = None
    """Of other models; none, by default."""

    @property
    def stages(self) -> list[Artefact]:
        """What was made of the samples, in the order of the data's way."""
        return artefact_list(
            self.plan.folds, self.votes, self.opinions, self.plan.canaries, self.checkpoints, self.gradients
        )

    @classmethod
    def of_run(cls, run: Run, run_id: str) -> CrossFit:
        """That of a recorded run.

        Raises:
            BadArtefact: the run's folder is damaged.
        """
        from tasks.dataset.samples import split_of

        manifest = reference(run, run_id)
        (samples,), (folds,), (votes,) = (stages_of(run, manifest, stage) for stage in ("samples", "folds", "votes"))
        canaries, opinions = (stages_of(run, manifest, stage) for stage in ("canaries", "opinions"))
        return cls(
            samples=split_of(samples, "train"),
            plan=Plan(folds=folds, canaries=canaries[0] if canaries else None),
            votes=votes,
            checkpoints=stages_of(run, manifest, "checkpoints"),
            gradients=stages_of(run, manifest, "gradients"),
            opinions=opinions[0] if opinions else None,
        )
