"""Label noise of the honesty benchmark, planted outside the product: it is given the labels alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from honesty_sets import Rows

Noise = Callable[[np.random.Generator, Rows], Rows]


def symmetric(share: float) -> Noise:
    """Exactly round(share · n) labels become any other class, each as likely."""

    def plant(rng: np.random.Generator, rows: Rows) -> Rows:
        names, y = np.unique(rows.truth, return_inverse=True)
        flips = rng.permutation(len(y))[: round(share * len(y))]
        y[flips] = (y[flips] + rng.integers(1, len(names), len(flips))) % len(names)
        return rows.noised(names[y].tolist())

    return plant


def pair(share: float) -> Noise:
    """Exactly round(share · n) labels become the class next to theirs."""

    def plant(rng: np.random.Generator, rows: Rows) -> Rows:
        names, y = np.unique(rows.truth, return_inverse=True)
        flips = rng.permutation(len(y))[: round(share * len(y))]
        y[flips] = (y[flips] + 1) % len(names)
        return rows.noised(names[y].tolist())

    return plant


def one_way(share: float) -> Noise:
    """So large a share of the first class is called the second."""

    def plant(rng: np.random.Generator, rows: Rows) -> Rows:
        names, y = np.unique(rows.truth, return_inverse=True)
        first = rng.permutation(np.flatnonzero(y == 0))
        y[first[: round(share * len(first))]] = 1
        return rows.noised(names[y].tolist())

    return plant


def confused(share: float) -> Noise:
    """Exactly round(share · n) labels become what a logistic regression takes the sample for beside its class.

    A sample is drawn with a weight that rises with the odds of that class: people err where it is hard.
    """

    def plant(rng: np.random.Generator, rows: Rows) -> Rows:
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        names, y = np.unique(rows.truth, return_inverse=True)
        x = StandardScaler().fit_transform(rows.x)
        scores = LogisticRegression(C=0.01, max_iter=500).fit(x, y).predict_log_proba(x)
        own = scores[np.arange(len(y)), y]
        scores[np.arange(len(y)), y] = -np.inf
        likely = scores.argmax(1)
        # The first of a draw without replacement: Gumbel noise on the log weights, of which half is enough of a slope.
        keys = (scores.max(1) - own) / 2 + rng.gumbel(size=len(y))
        flips = np.argsort(-keys)[: round(share * len(y))]
        y[flips] = likely[flips]
        return rows.noised(names[y].tolist())

    return plant


def rule(share: float) -> Noise:
    """Whoever is among the highest ``share`` of the first input is called the first class, whatever it is."""

    def plant(rng: np.random.Generator, rows: Rows) -> Rows:
        first, cut = min(rows.truth), np.quantile(rows.x[:, 0], 1 - share)
        return rows.noised([first if x > cut else y for x, y in zip(rows.x[:, 0], rows.truth, strict=True)])

    return plant


def exchanged(share: float) -> Noise:
    """Exactly round(share · n) labels, numbers or sets, become another sample's that differs."""

    def plant(rng: np.random.Generator, rows: Rows) -> Rows:
        given = list(rows.truth)
        for flip in rng.permutation(len(given))[: round(share * len(given))]:
            while given[flip] == rows.truth[flip]:
                given[flip] = rows.truth[rng.integers(len(given))]
        return rows.noised(given)

    return plant


def one_label(share: float) -> Noise:
    """Of exactly round(share · n) sets one label is forgotten, or one is added."""

    def plant(rng: np.random.Generator, rows: Rows) -> Rows:
        given = [set(label.split("|")) for label in rows.truth]
        names = sorted(set().union(*given))
        for flip in rng.permutation(len(given))[: round(share * len(given))]:
            name = names[rng.integers(len(names))]
            while given[flip] == {name}:
                name = names[rng.integers(len(names))]
            given[flip] ^= {name}
        return rows.noised(["|".join(sorted(labels)) for labels in given])

    return plant


def forgotten(share: float) -> Noise:
    """Of round(share · n) sets of two labels or more, or of all of those, one label is forgotten."""

    def plant(rng: np.random.Generator, rows: Rows) -> Rows:
        given = [label.split("|") for label in rows.truth]
        several = np.flatnonzero([len(labels) > 1 for labels in given])
        for flip in rng.permutation(several)[: round(share * len(given))]:
            given[flip].pop(int(rng.integers(len(given[flip]))))
        return rows.noised(["|".join(labels) for labels in given])

    return plant


def added(share: float) -> Noise:
    """To round(share · n) sets, or as many as have room, one label is added that is not in them."""

    def plant(rng: np.random.Generator, rows: Rows) -> Rows:
        given = [label.split("|") for label in rows.truth]
        names = sorted({name for labels in given for name in labels})
        for flip in rng.permutation(len(given))[: round(share * len(given))]:
            absent = [name for name in names if name not in given[flip]]
            if absent:
                given[flip] = sorted([*given[flip], absent[int(rng.integers(len(absent)))]])
        return rows.noised(["|".join(labels) for labels in given])

    return plant
