"""What clean asks a person, if it does: the page to decide by, the question, and what the proof then is about."""

from __future__ import annotations

from tasks.config import CleanConfig
from tasks.dataset.samples import split_of
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.dataset_lock import DatasetLock
from tasks.proof.arms import Verification
from tasks.scoring.crossfit import CrossFit
from tasks.steps import ask_for_review, draw_question


def decide(
    run: Run, config: CleanConfig, samples: Artefact, crossfit: CrossFit, flags: Artefact, lock: DatasetLock
) -> tuple[Artefact, Verification]:
    """The flags as they are, or as a reviewer wants them; and their proof, which relabels where the reviewer did."""
    if not config.review.required:
        return flags, config.verification
    known, arm = split_of(samples, "train"), config.verification.treatment
    draw_question(run, config.name, known, crossfit.votes, flags, arm)
    flags = ask_for_review(run, known, flags, config.review, lock, arm)
    return flags, config.verification.as_decided(flags.facts)
