"""Which class is labelled as which: noise told from confusion, pair by pair, by two observers that saw no label.

The observers are a held-out network a and the neighbours' vote b (tasks/kernels/wrongness.py). Of n samples

    J_jc = #{a = j, y = c}                      what the network calls j and the labels call c: noise and confusion
    E_jc = (#{a = j, b = c} + #{a = c, b = j})/2    confusion alone: two observers confuse two classes both ways

so the excess J − E is noise of the kind j → c. (Confident learning takes J for noise: Northcutt et al., JAIR 2021.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.kernels.axes import Bool, Float, Int

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
    """Counts by pair of classes, of u pairs: all that have any, of the k² that there may be."""

    classes: int
    """k"""
    keys: Int[np.ndarray, "u"]
    """k·j + c of each pair, rising; j is what the network says"""
    joint: Float[np.ndarray, "u"]
    """J_jc"""
    confusion: Float[np.ndarray, "u"]
    """E_jc"""

    @property
    def off(self) -> Bool[np.ndarray, "u"]:
        """Whether the two classes are different."""
        return self.keys // self.classes != self.keys % self.classes

    @property
    def samples(self) -> Float[np.ndarray, "k"]:
        """How many samples the network calls each class."""
        return np.bincount(self.keys // self.classes, self.joint, self.classes)

    def matrix(self, values: Float[np.ndarray, "u"]) -> Float[np.ndarray, "k k"]:
        """The values of the pairs, 0 elsewhere."""
        matrix = np.zeros(self.classes**2)
        matrix[self.keys] = values
        return matrix.reshape(self.classes, self.classes)


def pairs_of(a: Int[np.ndarray, "n"], b: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"], classes: int) -> Pairs:
    """Count J and E: of n samples no more than 3n pairs have any, and no more is held."""
    given, one_way, other_way = a * classes + labels, a * classes + b, b * classes + a
    if classes**2 <= max(len(a), _AT_A_TIME):
        keys = np.arange(classes**2)
    else:
        keys = np.unique(np.concatenate([given, one_way, other_way]))
        given, one_way, other_way = (np.searchsorted(keys, each) for each in (given, one_way, other_way))
    joint, between, back = (np.bincount(each, minlength=len(keys)) for each in (given, one_way, other_way))
    there = (joint > 0) | (between > 0) | (back > 0)
    return Pairs(classes, keys[there], joint[there].astype(np.float64), ((between + back) / 2)[there])


def pair_chances(pairs: Pairs, a: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """P(wrong | a = j, y = c) = (J − E)/(J + 1) within [0, 1]; a hundredth where the network confirms the label.

    Args:
        pairs: as counted.
        a: j of each sample.
        labels: c.
    """
    excess = np.clip((pairs.joint - pairs.confusion) / (pairs.joint + 1), 0, 1)
    return np.where(a == labels, 0.01, _of_pairs(pairs, excess, a, labels))


def _of_pairs(
    pairs: Pairs, values: Float[np.ndarray, "u"], a: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """The value of each sample's pair, 0 of one that there is not."""
    wanted = a * pairs.classes + labels
    at = np.searchsorted(pairs.keys, wanted)
    # Behind the last pair stands one that there is not.
    is_there = np.append(pairs.keys, -1)[at] == wanted
    return np.where(is_there, np.append(values, 0)[at], 0.0)


def transitions(pairs: Pairs) -> Float[np.ndarray, "k k"]:
    """T_jc = P(labelled c | truly j): the excess plus one, over the row's count plus k; rows sum to one."""
    excess = pairs.matrix(np.maximum(pairs.joint - pairs.confusion, 0)) + 1
    np.fill_diagonal(excess, 0)
    rate = excess / (pairs.samples[:, None] + len(excess))
    rate *= np.minimum(1, _MOST_NOISE / np.maximum(rate.sum(1, keepdims=True), 1e-12))
    return rate + np.diag(1 - rate.sum(1))


def concentration(pairs: Pairs) -> float:
    """(k − 1 − N)/(k − 2) within [0, 1], N how many others a class is taken for, in the mean of the wrong labels.

    0 where every class is taken for every other alike, 1 where every wrong label is of a class that is taken for one
    other. Of two classes each has one other in any case: 1 − (Σ x)²/(2 Σ(x² − v)), a half where one alone is mistaken.
    Within a row of a true class N_j = (Σ x)²/Σ(x² − v), between 1 and k − 1, and N weighs each row by its excess
    Σ (J − E): a pair that stands out does not speak for wrong labels elsewhere. Rows in which nothing can be told (see
    below) are left out, unless they have half of the excess: then N = Σ_j (Σ x)²/Σ_j Σ(x² − v) of all rows. All sums
    are over the pairs with an excess, x > 0. Of a pair

        x = (J − E)/n       the excess rate, n the row's count
        v = (J + E)/n²      the variance that x has by chance: left in, few samples would look like few pairs

    By chance alone x² − v is 0 in the mean with a variance of 2v², so 0 is also what is said where Σ(x² − v) is within
    two standard deviations, 2√(Σ 2v²): nothing can be told. Every pair with an excess stays in the sums. If only those
    were counted that stand out one by one, symmetric noise of few samples would look like noise of few pairs.
    """
    k, rows = pairs.classes, pairs.keys // pairs.classes
    there = pairs.off & (pairs.joint > pairs.confusion)
    rows, count = rows[there], np.maximum(pairs.samples, 1)[rows[there]]
    more = (pairs.joint - pairs.confusion)[there]
    excess, chance = more / count, (pairs.joint + pairs.confusion)[there] / count**2
    beyond = excess**2 - chance
    squares = float(beyond.sum())
    if squares <= _CLEAR * np.sqrt(2 * (chance**2).sum()):
        return 0.0
    if k == 2:
        return max(0.0, 1 - float(excess.sum()) ** 2 / squares / 2)
    sums, by_row, spread, weights = (np.bincount(rows, each, k) for each in (excess, beyond, chance**2, more))
    clear = by_row > _CLEAR * np.sqrt(2 * spread)
    if weights[clear].sum() < weights.sum() / 2:
        others = float(np.clip((sums**2).sum() / squares, 1, k - 1))
    else:
        others = float(np.average(np.clip(sums[clear] ** 2 / by_row[clear], 1, k - 1), weights=weights[clear]))
    return (k - 1 - others) / (k - 2)


def pair_shares(pairs: Pairs, truly: Int[np.ndarray, "m"], labels: Int[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    """x_jc k(k − 1)/Σ x, the excess rate of each of m pairs j → c over the mean of all pairs; 1 where none has any.

    x = (J − E)/(n + k), n the row's count, as in ``transitions``: a class of one or two samples has no rate of its own.

    Args:
        pairs: as counted.
        truly: j.
        labels: c, another class.
    """
    counts = pairs.samples[pairs.keys // pairs.classes] + pairs.classes
    excess = np.where(pairs.off, np.maximum(pairs.joint - pairs.confusion, 0) / counts, 0)
    total = float(excess.sum())
    if not total:
        return np.ones(len(labels))
    return _of_pairs(pairs, excess, truly, labels) * pairs.classes * (pairs.classes - 1) / total


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
