"""Signed entropy over the training: doubt that counts for a label while it is predicted, and against it otherwise."""

from __future__ import annotations

from typing import ClassVar

from tasks.scoring.detectors.dynamics import Dynamics


class Sei(Dynamics, kind="sei"):
    """Signed entropy integral (arXiv 2605.31090), turned round: mean of ∓H(p)/log k, − where the label is predicted.

    A label that the network learns without doubt and one that it contradicts without doubt are both near 0, so it tells
    most of networks that are trained briefly or regularised.
    """

    sign: ClassVar[float] = -1.0
