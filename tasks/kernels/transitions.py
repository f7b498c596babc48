"""Which class is labelled as which: noise told from confusion, pair by pair, by two observers that saw no label.

The observers are a held-out network a and the neighbours' vote b (tasks/kernels/wrongness.py). Of n samples

    J_jc = #{a = j, y = c}                      what the network calls j and the labels call c: noise and confusion
    E_jc = (#{a = j, b = c} + #{a = c, b = j})/2    confusion alone: two observers confuse two classes both ways

so the excess J − E is noise of the kind j → c. (Confident learning takes J for noise: Northcutt et al., JAIR 2021.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.kernels.axes import Float, Int

# Least share of a class in what is thought of a sample: the inverse of a transition can make negative ones.
_LEAST = 1e-3
# A class that is wrong more often than this is not told from the others by its name any more.
_MOST_NOISE = 0.9
# What noise shrinks below this share of the rest is not blown up again: classes that it makes alike stay alike.
_LEAST_SINGULAR = 0.01
# Standard deviations beyond which noise is told from chance.
_CLEAR = 2
# Values that are gathered at a time.
_AT_A_TIME = 1 << 17


class Pairs(NamedTuple):
    """Counts by pair of classes, k × k; rows are what the network says."""

    joint: Float[np.ndarray, "k k"]
    """J"""
    confusion: Float[np.ndarray, "k k"]
    """E"""


def pairs_of(a: Int[np.ndarray, "n"], b: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"], classes: int) -> Pairs:
    """Count J and E."""

    def count(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        flat = np.bincount(rows * classes + columns, minlength=classes**2)
        return flat.reshape(classes, classes).astype(np.float64)

    between = count(a, b)
    return Pairs(count(a, labels), (between + between.T) / 2)


def pair_chances(pairs: Pairs) -> Float[np.ndarray, "k k"]:
    """P(wrong | a = j, y = c) = (J − E)/(J + 1) within [0, 1]; a hundredth where the network confirms the label."""
    excess = np.clip((pairs.joint - pairs.confusion) / (pairs.joint + 1), 0, 1)
    np.fill_diagonal(excess, 0.01)
    return excess


def transitions(pairs: Pairs) -> Float[np.ndarray, "k k"]:
    """T_jc = P(labelled c | truly j): the excess plus one, over the row's count plus k; rows sum to one."""
    excess = np.maximum(pairs.joint - pairs.confusion, 0) + 1
    np.fill_diagonal(excess, 0)
    rate = excess / (pairs.joint.sum(1, keepdims=True) + len(excess))
    rate *= np.minimum(1, _MOST_NOISE / np.maximum(rate.sum(1, keepdims=True), 1e-12))
    return rate + np.diag(1 - rate.sum(1))


def concentration(pairs: Pairs) -> float:
    """1 − N/(k(k − 1)), N = (Σ x)²/Σ(x² − v) the effective number of pairs that the noise is spread over.

    0 where every class is taken for every other alike, 1 − 1/(k − 1) where each is taken for one other. Both sums are
    over the pairs with an excess, x > 0. Of a pair

        x = (J − E)/n       the excess rate, n the row's count
        v = (J + E)/n²      the variance that x has by chance: left in, few samples would look like few pairs

    By chance alone x² − v is 0 in the mean with a variance of 2v², so 0 is also what is said where Σ(x² − v) is within
    two standard deviations, 2√(Σ 2v²): nothing can be told. Every pair with an excess stays in the sums. If only those
    were counted that stand out one by one, symmetric noise of few samples would look like noise of few pairs.
    """
    off = ~np.eye(len(pairs.joint), dtype=bool)
    counts = np.maximum(pairs.joint.sum(1, keepdims=True), 1)
    excess = ((pairs.joint - pairs.confusion) / counts)[off]
    chance = ((pairs.joint + pairs.confusion) / counts**2)[off]
    there = excess > 0
    squares = float((excess[there] ** 2 - chance[there]).sum())
    if squares <= _CLEAR * np.sqrt(2 * (chance[there] ** 2).sum()):
        return 0.0
    return max(0.0, 1 - float(excess[there].sum()) ** 2 / squares / len(excess))


def inverse_of(noise: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """T⁻¹, the pseudo-inverse: classes that the network never predicts have equal rows."""
    return np.linalg.pinv(noise, rcond=_LEAST_SINGULAR)


def label_flow(
    thought: Float[np.ndarray, "n k"],
    noise: Float[np.ndarray, "k k"],
    labels: Int[np.ndarray, "n"],
    inverse: Float[np.ndarray, "k k"] | None = None,
) -> Float[np.ndarray, "n"]:
    """log P(wrong, y | x) − log P(right, y | x), in nats, of each sample's label y under the transitions T.

    What observers that learnt from noisy labels think is q = η T; η = q T⁻¹ (Patrini et al., CVPR 2017), at least
    10⁻³, is what is true, and the label y came from another class with Σ_{j≠y} η_j T_jy against η_y T_yy.

    Args:
        thought: q, rows sum to one.
        noise: T.
        labels: y.
        inverse: ``inverse_of`` T, where it is known.
    """
    true = thought.astype(np.float64) @ (inverse_of(noise) if inverse is None else inverse)
    np.maximum(true, _LEAST, out=true)
    true /= true.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    right = true[rows, labels] * noise[labels, labels]
    every = _products(true, noise, labels)
    return np.log(np.maximum(every - right, 1e-12)) - np.log(right)


def _products(
    true: Float[np.ndarray, "n k"], noise: Float[np.ndarray, "k k"], labels: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """Σ_j η_j T_jy of each sample's own y."""
    products = np.empty(len(labels))
    size = max(1, _AT_A_TIME // len(noise))
    columns = np.ascontiguousarray(noise.T)
    for at in range(0, len(labels), size):
        some = slice(at, at + size)
        products[some] = np.einsum("nk,nk->n", true[some], columns[labels[some]])
    return products
