"""The grid of the honesty benchmark: sets × noise. Which cases are held out was settled before any result was seen."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from honesty_noise import Noise, added, confused, exchanged, forgotten, one_label, one_way, pair, rule, symmetric
from honesty_sets import (
    BENCH,
    FASHION,
    Rows,
    Source,
    banking,
    bundled,
    chance,
    cifar10n,
    clusters,
    diabetes,
    fashion,
    friedman,
    half_blank,
    moons,
    overlap,
    sets,
    short_texts,
    sst2,
    topics,
    trec,
)

# As tests/benchmarks/detection.py has it: five times 60 epochs of 50,000 would be hours.
_LARGE = {"model": {"kind": "mlp", "hidden": [256], "dropout": 0.3}, "training": {"epochs": 12, "batch_size": 128}}

# Shares of five classes.
_UNEVEN = [0.3, 0.25, 0.2, 0.15, 0.1]


@dataclass(frozen=True)
class Case:
    """One set under one kind of noise."""

    name: str
    n: int
    """Rows; the largest begin first."""
    source: Source
    noise: Noise | None = None
    needs: Path | None = None
    """The folder of the real set it is made of."""
    options: dict[str, Any] = field(default_factory=dict)
    """What is not as ``gradsieve clean`` has it by default."""
    held_out: bool = False

    @property
    def missing(self) -> bool:
        """Whether the set it is made of is not there."""
        return self.needs is not None and not self.needs.is_dir()

    def rows(self, seed: int) -> Rows:
        """Samples and labels, the same for the same seed."""
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        rows = self.source(rng)
        return rows if self.noise is None else self.noise(rng, rows)


def _development() -> list[Case]:
    return [
        # Nothing is wrong: separable, real, overlapping, drawn at random.
        Case("clean-300x3", 300, clusters(300, 3)),
        Case("clean-3000x4", 3000, clusters(3000, 4)),
        Case("clean-3000x4-close", 3000, clusters(3000, 4, apart=2.5)),
        Case("clean-20000x10", 20_000, clusters(20_000, 10, dims=16)),
        Case("digits-clean", 1797, bundled("digits")),
        Case("overlap-1500x3-of-73", 1500, overlap(1500, 3, 0.73)),
        Case("random-505x2", 505, chance(505, 2)),
        Case("half-blank-1500x5", 1500, half_blank(1500, _UNEVEN)),
        Case("cifar10n-verified-10000", 10_000, cifar10n("clean", 10_000), needs=BENCH),
        Case("numbers-clean", 2000, friedman(2000)),
        Case("sets-clean", 2000, sets(2000, 5)),
        # Any class for any other.
        Case("symmetric-20-200x2", 200, clusters(200, 2), symmetric(0.2)),
        Case("symmetric-10-3000x4", 3000, clusters(3000, 4, apart=3), symmetric(0.1)),
        Case("symmetric-40-5000x10", 5000, clusters(5000, 10, dims=16, apart=4), symmetric(0.4)),
        Case("symmetric-10-100x30", 3000, clusters(3000, 100, dims=32, apart=6), symmetric(0.1)),
        Case("digits-symmetric-10", 1797, bundled("digits"), symmetric(0.1)),
        Case("wine-symmetric-15", 178, bundled("wine"), symmetric(0.15)),
        Case("breast-cancer-symmetric-10", 569, bundled("breast_cancer"), symmetric(0.1)),
        Case("fashion-symmetric-20-10000", 10_000, fashion(10_000), symmetric(0.2), needs=FASHION),
        # By pairs of classes, by how hard a sample is, by a rule.
        Case("pair-20-3000x4", 3000, clusters(3000, 4, apart=3), pair(0.2)),
        Case("digits-pair-20", 1797, bundled("digits"), pair(0.2)),
        Case("one-way-10-2000x2", 2000, clusters(2000, 2, apart=2.5), one_way(0.1)),
        Case("one-way-25-digits", 1797, bundled("digits"), one_way(0.25)),
        Case("confused-15-3000x5", 3000, clusters(3000, 5, apart=3), confused(0.15)),
        Case("trec-by-rules", 4965, trec("weak"), needs=BENCH),
        # One class is rare.
        Case("rare-2-symmetric-10", 2000, clusters(2000, 2, apart=2.2, rare=0.02), symmetric(0.1)),
        Case("rare-1-symmetric-5", 5000, clusters(5000, 3, apart=4, rare=0.01), symmetric(0.05)),
        # Wrong and unpredictable at once; a network at chance.
        Case("overlap-of-85-symmetric-10", 3000, overlap(3000, 2, 0.85), symmetric(0.1)),
        Case("half-blank-1500x5-symmetric-10", 1500, half_blank(1500, _UNEVEN), symmetric(0.1)),
        Case("chance-400x3-symmetric-6", 400, chance(400, 3), symmetric(0.06)),
        # Text.
        Case("texts-13-symmetric-10", 4000, short_texts(4000, 0.13), symmetric(0.1), needs=BENCH),
        Case("banking-symmetric-20", 6000, banking(6000), symmetric(0.2), needs=BENCH),
        # People's own errors.
        Case("cifar10n-aggre-10000", 10_000, cifar10n("aggre", 10_000), needs=BENCH),
        Case("cifar10n-worse-10000", 10_000, cifar10n("worse", 10_000), needs=BENCH),
        Case("cifar10n-aggre-50000", 50_000, cifar10n("aggre", 50_000), needs=BENCH, options=_LARGE),
        # Numbers and sets.
        Case("numbers-exchanged-20", 2000, friedman(2000), exchanged(0.2)),
        Case("diabetes-exchanged-20", 442, diabetes, exchanged(0.2)),
        Case("sets-exchanged-15", 2000, sets(2000, 5), exchanged(0.15)),
        Case("sets-forgotten-15", 2500, topics(2500, 6), forgotten(0.15)),
        Case("sets-added-15", 2500, topics(2500, 6), added(0.15)),
    ]


def _held_out() -> list[Case]:
    return [
        Case("breast-cancer-clean", 569, bundled("breast_cancer"), held_out=True),
        Case("rare-2-clean", 2000, clusters(2000, 2, apart=2.2, rare=0.02), held_out=True),
        Case("overlap-1217x2-of-70", 1217, overlap(1217, 2, 0.70), held_out=True),
        Case("symmetric-5-1000x3", 1000, clusters(1000, 3, apart=4), symmetric(0.05), held_out=True),
        Case("moons-symmetric-15", 2000, moons(2000, 0.15), symmetric(0.15), held_out=True),
        Case("pair-30-2000x10", 2000, clusters(2000, 10, dims=16, apart=4), pair(0.3), held_out=True),
        Case("digits-confused-15", 1797, bundled("digits"), confused(0.15), held_out=True),
        Case("fashion-pair-20-10000", 10_000, fashion(10_000), pair(0.2), needs=FASHION, held_out=True),
        Case("rule-25-2000x4", 2000, clusters(2000, 4, apart=4), rule(0.25), held_out=True),
        Case("rare-1-pair-5", 4000, clusters(4000, 3, apart=4, rare=0.01), pair(0.05), held_out=True),
        Case("overlap-of-70-pair-10", 2700, overlap(2700, 2, 0.70), pair(0.1), held_out=True),
        Case("chance-2000x2-symmetric-5", 2000, chance(2000, 2), symmetric(0.05), held_out=True),
        Case("trec-symmetric-10", 4965, trec("clean"), symmetric(0.1), needs=BENCH, held_out=True),
        Case("sst2-symmetric-10", 4000, sst2(4000), symmetric(0.1), needs=BENCH, held_out=True),
        Case("cifar10n-worse-50000", 50_000, cifar10n("worse", 50_000), needs=BENCH, options=_LARGE, held_out=True),
        Case("heavy-tails-exchanged-10", 2000, friedman(2000, tails=2.5), exchanged(0.1), held_out=True),
        Case("sets-of-one-label-less-or-more-20", 4000, sets(4000, 6), one_label(0.2), held_out=True),
    ]


CASES = _development() + _held_out()
