"""Wrong labels told from unpredictable ones by what they say: labels that no doubt of the observers' explains.

Two observers that never saw a label y say how likely each class is, p and v. A label is what it is for two reasons:

    P(y | x) = r ρ_cy + (1 − r ρ_c) q_y

    q    the label is hard to predict: their logarithmic pool (tasks/kernels/pools.py)
    r    the label is wrong: any other class than their first choice c. Such labels go, ρ, wherever labels do that are
         not the first choice, or along the pairs of classes that the other half of the samples shows
         (tasks/kernels/confusions.py), or half of them so and half so: the plainest that makes the labels about as
         likely as any

Dissent from a label that is hard to predict fades as the observers become sure, and goes where their second thoughts
go; dissent from a wrong label does neither. tasks/kernels/lapses.py looks at the first alone, of one class at a time;
this asks how likely each label is as well. Labels drawn from p(y | x), none of them wrong, have r = 0, as hard as they
may be to predict. Where the classes' frequencies explain the labels as well as both observers do (all exponents 0 but
γ = 1) nothing is known of r. A network learns pairs of classes that are often exchanged, and expects them then: what is
seen here is the least that is wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.kernels.axes import Bool, Float, Int
from tasks.kernels.confusions import anywhere, confusions_of, no_confusions
from tasks.kernels.lapses import CUT, ONE_SIDED, Lapses
from tasks.kernels.pieces import pieces
from tasks.kernels.pools import (
    MOST_WRONG,
    START,
    Confusions,
    Observed,
    Said,
    ascend,
    dissents_first,
    observe,
    pooled,
    said_of,
    wrong_and_right,
    wrong_share,
)

# Probabilities that are fitted to, at most: of more samples times classes every so many-th sample is.
_MOST_FITTED = 1 << 19
# Probabilities of samples whose chance is asked for in one go.
_ASKED = 1 << 20
# Rates at which the profile is taken, first over all, then twice where it is within 6 of its best.
_RATES, _NEAR = (10, 12, 24), 6.0
# Probabilities that readings are compared by, at most, and classes whose pairs are looked at: tables of more would be
# larger than all else.
_MOST_COMPARED, _MOST_CLASSES = 1 << 17, 1000
# Where no label is surely wrong the likelihood still tells which are the most unlikely; and a label that is the first
# choice may be wrong.
_LEAST_RATE, _LEAST_WRONG = 0.01, 1e-4
# Readings of where labels go that are not the first choice, from the plainest on: how much of the wrong ones keeps to
# pairs, whether some pairs are harder to tell than the observers think (B), whether those that are alike are (u), and
# what that must add to the log-likelihood. With 5 in place of 10 for pairs, some of CIFAR-10's verified labels were
# called wrong.
_READINGS = (
    (0.0, False, False, 0.0),
    (0.0, True, False, 3.0),
    (0.0, True, True, 13.0),
    (0.5, True, False, 13.0),
    (1.0, True, False, 13.0),
    (0.5, True, True, 23.0),
    (1.0, True, True, 23.0),
)


class LabelFit(NamedTuple):
    """The fit, with all that the chance of a single label follows from."""

    lapses: Lapses
    observed: Observed
    rows: Int[np.ndarray, "m"]
    """The labels that it is fitted to."""
    confusions: Confusions
    by_pairs: bool
    """Whether wrong labels keep to pairs of classes, half of them or all."""

    def given(self, lapses: Lapses) -> LabelFit:
        """By rates that are known from elsewhere, with the pools that fit best with them."""
        rates = np.array([lapses.low, lapses.rate, lapses.high, lapses.sure])
        order, curves = rates.argsort(), np.empty((len(rates), len(START)))
        said = said_of(self.observed, self.confusions, self.rows)
        curves[order] = _profile(said, rates[order], self.lapses.rate, self.lapses.curves[1]).pools
        return self._replace(lapses=lapses._replace(curves=curves))

    def chance(self, rate: float, pool: Float[np.ndarray, "eight"]) -> Float[np.ndarray, "n"]:
        """P(wrong | y, x) = r ρ_cy / (r ρ_cy + (1 − r ρ_c) q_y), 0 where y is the first choice or not counted."""
        n, k = self.observed.p.shape
        chance = np.zeros(n)
        dissents = np.flatnonzero(self.observed.dissents)
        for some in pieces(len(dissents) if rate else 0, k, _ASKED):
            rows = dissents[some]
            said = said_of(self.observed, self.confusions, rows)
            chance[rows] = wrong_share(said, rate, pooled(said, pool))
        return chance

    def log_odds(self, rows: Int[np.ndarray, "m"], labels: Int[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """log max(r ρ_cy, 10⁻⁴)/((1 − r ρ_c) q_y) of samples as if they bore these labels, r no less than .01."""
        rate, k = max(self.lapses.rate, _LEAST_RATE), self.observed.p.shape[1]
        shown = self.observed.labels.copy()
        shown[rows] = labels
        observed, odds = self.observed._replace(labels=shown), np.empty(len(shown))
        for some in pieces(len(rows), k, _ASKED):
            each = dissents_first(observed, rows[some])
            said = said_of(observed, self.confusions, each)
            wrong, right = wrong_and_right(said, rate)
            odds[each] = np.log(_LEAST_WRONG)
            odds[each[: len(wrong)]] = np.log(np.maximum(wrong, _LEAST_WRONG))
            odds[each] -= np.log(np.maximum(right * pooled(said, self.lapses.curves[1]).q, 1e-300))
        return odds[rows]


class _Profile(NamedTuple):
    """−log-likelihood along rates, from 0 on, with the pools that fit best."""

    rates: Float[np.ndarray, "r"]
    loss: Float[np.ndarray, "r"]
    pools: Float[np.ndarray, "r eight"]


def fit_pools(
    p: Float[np.ndarray, "n k"],
    votes: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, "n"],
    counted: Bool[np.ndarray, "n"] | None = None,
    *,
    by_pairs: bool = True,
) -> LabelFit:
    """Maximise the likelihood over r and the pool; the interval of r is where its profile gives away < 1.92.

    Args:
        p: of the held-out network.
        votes: shares of the neighbours' labels.
        labels: y, which neither has seen.
        counted: the labels that are evidence, and that r is a share of; all, by default.
        by_pairs: wrong labels may keep to pairs of classes; sets of labels are not taken for each other.
    """
    observed, k = observe(p, votes, labels, counted), p.shape[1]
    rows = np.flatnonzero(observed.counted)
    rows = dissents_first(observed, rows[:: max(1, -(-len(rows) * k // _MOST_FITTED))])
    usual = anywhere(observed)
    confusions, paired = no_confusions(observed, usual), False
    if by_pairs and k <= _MOST_CLASSES:
        confusions, paired = _likeliest(observed, usual, rows)
    said = said_of(observed, confusions, rows)
    return LabelFit(_lapses(_refined(said, _first_profile(said))), observed, rows, confusions, paired)


def _likeliest(
    observed: Observed, usual: Float[np.ndarray, "k k"], rows: Int[np.ndarray, "m"]
) -> tuple[Confusions, bool]:
    """(where labels go by the reading that explains them best, whether wrong ones keep to pairs by it)."""
    learned = confusions_of(observed, usual, rows)
    step = max(1, -(-len(rows) * len(usual) // _MOST_COMPARED))
    few = dissents_first(observed, np.sort(rows)[::step])
    known = [
        learned._replace(
            wrong=share * learned.wrong + (1 - share) * usual, hard=learned.hard * hard, unlike=learned.unlike * unlike
        )
        for share, hard, unlike, _ in _READINGS
    ]
    losses = [_first_profile(said_of(observed, each, few)).loss.min() for each in known]
    best = int(np.argmin([loss + cost for loss, (*_, cost) in zip(losses, _READINGS, strict=True)]))
    return known[best], _READINGS[best][0] > 0


def _first_profile(said: Said) -> _Profile:
    """Over all rates."""
    dissent = len(said.error) / len(said.sure)
    most = min(float(np.clip(1.6 * dissent, 4e-3, MOST_WRONG)), MOST_WRONG / max(float(said.errors.max()), 1e-9))
    rates = np.append(0.0, np.geomspace(min(1e-3, most / 2), most, _RATES[0]))
    return _profile(said, rates, 0.0, START)


def _refined(said: Said, profile: _Profile) -> _Profile:
    """Near its best."""
    for count in _RATES[1:]:
        rates, loss, pools = profile
        near = np.flatnonzero(loss - loss.min() < _NEAR)
        edges = rates[max(near[0] - 1, 0)], rates[min(near[-1] + 1, len(rates) - 1)]
        around = np.unique(np.append(0.0, np.linspace(*edges, count)))
        profile = _profile(said, around, float(rates[loss.argmin()]), pools[loss.argmin()])
    return profile


def _profile(said: Said, rates: np.ndarray, first: float, start: Float[np.ndarray, "eight"]) -> _Profile:
    """For each rate, from ``first`` up and down, both ways from ``start``.

    Each is begun from its neighbour's: above the rate 0 there may be several hills, and one is followed.
    """
    best, pools = np.full(len(rates), np.inf), np.zeros((len(rates), len(start)))
    middle, begin = int(np.abs(rates - first).argmin()), pooled(said, start)
    for order in (range(middle, len(rates)), range(middle - 1, -1, -1)):
        pool = begin
        for i in order:
            best[i], pool = ascend(said, float(rates[i]), pool)
            pools[i] = pool.exponents
    return _Profile(rates, best, pools)


def _lapses(profile: _Profile) -> Lapses:
    """Its best and its ends.

    An end lies between two rates, and is taken to be the outer one; whether there are wrong labels at all is no
    question of that, and the same by one end as by both.
    """
    rates, loss, pools = profile
    best, inside = int(loss.argmin()), np.flatnonzero(loss - loss.min() < CUT).tolist()
    surely = int(np.flatnonzero(loss - loss.min() < ONE_SIDED)[0])
    first, surely = (max(index - 1, 1) if rates[inside[0]] else 0 for index in (inside[0], surely))
    ends = [first, best, min(inside[-1] + 1, len(rates) - 1), surely]
    low, rate, high, sure = rates[ends].tolist()
    return Lapses(rate, low, high, sure, float(loss[0] - loss.min()), pools[ends])
