"""Planted label noise."""

from __future__ import annotations

import math

import numpy as np
import torch

from tasks.kernels.axes import Float, Int

# Inputs wider than this are projected to so many dimensions before they choose a class.
_DIMENSIONS = 64


def flip_labels(
    labels: Int[np.ndarray, "n"],
    decide: Float[np.ndarray, "n"],
    choose: Float[np.ndarray, "n"],
    *,
    share: float,
    classes: int,
    symmetric: bool,
) -> Int[np.ndarray, "n"]:
    """Flip a share of labels.

    With u = ``decide`` and v = ``choose``, both uniform in [0, 1): the label y of a sample with u < share becomes
    (y + 1 + ⌊v (k − 1)⌋) mod k when symmetric (every other class equally likely), else (y + 1) mod k ("pair flip",
    Han et al., Co-teaching, NeurIPS 2018). All others stay.

    Args:
        labels: class indices 0 … k − 1.
        decide: whether; a function of the sample, so that row order changes nothing.
        choose: to which class.
        share: expected share of flips.
        classes: k, at least 2.
        symmetric: which of the two kinds.
    """
    step = 1 + np.floor(choose * (classes - 1)).astype(labels.dtype) if symmetric else np.ones_like(labels)
    return np.where(decide < share, (labels + step) % classes, labels)


def flip_rates(draw: Float[np.ndarray, "n"], *, share: float, deviation: float = 0.1) -> Float[np.ndarray, "n"]:
    """The flip rate q of each sample: normal around ``share``, cut off at 0 and 1, by inversion.

    q = share + σ Φ⁻¹(Φ(a) + u (Φ(b) − Φ(a))), a = −share/σ, b = (1 − share)/σ, u = ``draw``. As in Xia et al.
    ("Part-dependent label noise", NeurIPS 2020, algorithm 2, σ = 0.1), the mean of q is a little more than a small
    share: .129 for .1, .206 for .2.

    Args:
        draw: uniform in [0, 1); a function of the sample, so that row order changes nothing.
        share: mode of the rates.
        deviation: σ of the normal before it is cut off.
    """
    low, high = (0.5 * (1 + math.erf(edge / (deviation * math.sqrt(2)))) for edge in (-share, 1 - share))
    quantiles = torch.special.ndtri(torch.from_numpy(low + draw * (high - low))).numpy()
    return np.clip(share + deviation * quantiles, 0.0, 1.0)


class InstanceTargets:
    """Which class a flipped label goes to, by what its sample looks like: nearby inputs of one class go the same way.

    Xia et al. (above), algorithm 2: p = softmax(z W_y) over the classes other than the given one, y, with one matrix
    W_y (inputs × k) of standard normal entries for each y; the new label is drawn from p. With inputs z of d values of
    variance 1 the logits have a standard deviation of √d, so that images nearly always choose one certain class and a
    table of a few columns chooses softly. Two classes leave no choice.

    Two deviations, so that a sample's flip needs no other sample and W stays small. z is standardised by the sample's
    own values instead of the dataset's: z = √d (x − m) / ‖x − m‖, m the mean of x, or 0 if ``centre`` is false. Where
    x = m, z = 0, which chooses evenly. Above 64 inputs z is replaced by R z, R 64 × d with entries ±1/8, which keeps
    norms and angles in expectation (Achlioptas, JCSS 2003), and W_y has 64 rows.

    Args:
        inputs: d.
        classes: k, at least 2.
        seed: of R and of every W_y.
        centre: whether to subtract a sample's own mean.
    """

    def __init__(self, inputs: int, classes: int, seed: int, *, centre: bool) -> None:
        self.inputs, self.classes, self.centre = inputs, classes, centre
        self._seed = seed % 2**64
        self._signs: np.ndarray | None = None
        if inputs > _DIMENSIONS:
            signs = np.random.default_rng([self._seed, 0]).integers(0, 2, (inputs, _DIMENSIONS), np.int8)
            self._signs = (2.0 * signs - 1.0) / math.sqrt(_DIMENSIONS)

    def __call__(
        self, x: Float[np.ndarray, "n d"], labels: Int[np.ndarray, "n"], choose: Float[np.ndarray, "n"]
    ) -> Int[np.ndarray, "n"]:
        """Another class for each label.

        Args:
            x: inputs, in float64, so that no rounding decides otherwise in a batch of another size.
            labels: class indices 0 … k − 1.
            choose: uniform in [0, 1); a function of the sample.
        """
        z = self._standardise(x)
        result = labels.copy()
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            # Drawn when needed: with a thousand classes all of them together would take half a gigabyte.
            generator = np.random.default_rng([self._seed, 1 + int(label)])
            logits = z[rows] @ generator.standard_normal((z.shape[1], self.classes))
            logits[:, label] = -np.inf
            below = np.exp(logits - logits.max(axis=1, keepdims=True)).cumsum(axis=1)
            # The first class whose cumulative probability exceeds v: never the given one, which adds nothing to it.
            result[rows] = (below <= choose[rows, None] * below[:, -1:]).sum(axis=1)
        return result

    def _standardise(self, x: np.ndarray) -> np.ndarray:
        x = x - x.mean(axis=1, keepdims=True) if self.centre else x
        norm = np.linalg.norm(x, axis=1, keepdims=True)
        z = math.sqrt(self.inputs) * np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
        return z if self._signs is None else z @ self._signs
