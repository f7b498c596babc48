"""What a label says, and how a network learns it: one class, a number, a set of labels, or a response to a prompt.

A label is text wherever a person meets it: in samples, flags, versions and SQL. For the numbers behind it there are

    value     what a loss compares outputs with: a class index; a standardised number; zeros and ones, one a label
    stratum   the class that folds, votes, canaries and caps go by: the class itself; a range of numbers between
              quantiles; the set of labels, rare sets together; one for all responses

so that whatever is said of classes holds of the others as well, and only this package knows which there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tasks.dataset.targets.labels import Labels
from tasks.dataset.targets.number import Number
from tasks.dataset.targets.response import Response
from tasks.dataset.targets.target import Prediction, Target

if TYPE_CHECKING:
    from tasks.pipeline.artefacts import Artefact

__all__ = ["Prediction", "Target", "TargetKind", "kind_of", "read_target", "target_of"]

TargetKind = Literal["class", "number", "labels", "response"]

_KINDS: dict[str, type[Target]] = {"number": Number, "labels": Labels, "response": Response}


def kind_of(kind: TargetKind) -> type[Target]:
    """The target of this kind."""
    return _KINDS.get(kind, Target)


def target_of(samples: Artefact) -> Target:
    """What an ingested artefact's labels say: classes, where it does not say otherwise."""
    return read_target(samples.facts.get("target"), samples.facts["classes"])


def read_target(said: dict[str, Any] | None, classes: list[str] | tuple[str, ...]) -> Target:
    """A target as facts and manifests have it: None for classes, which say all that is to be said."""
    if said is None:
        return Target(classes=tuple(classes))
    return _KINDS[said["kind"]].model_validate(said)
