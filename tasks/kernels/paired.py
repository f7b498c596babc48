"""The difference between two arms that share their seeds and their test samples, and how sure it is."""

from __future__ import annotations

import numpy as np

from tasks.kernels.axes import Bool, Float, Int

# Weights held at a time: replicates × kinds of samples.
_AT_A_TIME = 1 << 22


Credit = Bool[np.ndarray, "s n"] | Float[np.ndarray, "s n"]
"""Whether, or how far, each of n test samples was answered right under each of s seeds."""


def seed_differences(treatment: Credit, control: Credit) -> Float[np.ndarray, "s"]:
    """d_i = (1/n) Σ_j [t_ij − c_ij]: the difference in accuracy under each of s seeds, on n test samples.

    Right or wrong is counted in integers, so that seeds whose counts differ alike have the same difference to the last
    bit.
    """
    return (treatment.sum(1) - control.sum(1)) / treatment.shape[1]


def weighted_means(
    differences: Int[np.ndarray, "s u"] | Float[np.ndarray, "s u"],
    seeds: Int[np.ndarray, "r s"],
    samples: Int[np.ndarray, "r u"],
) -> Float[np.ndarray, "r"]:
    """m_r = Σ_ij a_ri D_ij b_rj / (Σ_i a_ri · Σ_j b_rj), without an array of r × s × u.

    Args:
        differences: D; −1, 0 or 1 where answers are right or wrong.
        seeds: a, how often each replicate drew each seed.
        samples: b, how often it drew each sample.
    """
    totals = seeds.sum(1) * samples.sum(1)
    return ((seeds.astype(np.float64) @ differences) * samples).sum(1) / totals


def bootstrap(
    treatment: Credit,
    control: Credit,
    generator: np.random.Generator,
    replicates: int = 2000,
) -> Float[np.ndarray, "r"]:
    """The mean difference in accuracy in r replicates that draw seeds *and* test samples anew, with replacement.

    Both are draws: another test split would give another difference, and so would another initialisation (Owen, "The
    pigeonhole bootstrap", Annals of Applied Statistics 1, 2007). Samples whose differences agree under every seed are
    interchangeable, so what is drawn is how many of each of the u kinds there are: multinomial, the same distribution
    as n single draws. Most samples are of the one kind that never differs, so u is far below n.

    Args:
        treatment: whether, or how far, each test sample was answered right, by seed.
        control: the same of the arm it is compared with.
        generator: of the draws.
        replicates: r.
    """
    (s, n) = treatment.shape
    if treatment.dtype == bool:
        differences = treatment.astype(np.int8) - control.astype(np.int8)
        kinds, counts = np.unique(differences, axis=1, return_counts=True)
        kinds = kinds.astype(np.int64)
    else:
        kinds, counts = treatment - control, np.ones(n, np.int64)  # no two need be alike
    means, size = np.empty(replicates), max(1, _AT_A_TIME // len(counts))
    for first in range(0, replicates, size):
        r = min(size, replicates - first)
        seeds = generator.multinomial(s, np.full(s, 1 / s), size=r)
        samples = generator.multinomial(n, counts / n, size=r)
        means[first : first + r] = weighted_means(kinds, seeds, samples)
    return means


def percentile_interval(replicates: Float[np.ndarray, "r"]) -> tuple[float, float]:
    """The middle 95 % of the replicates."""
    low, high = np.quantile(replicates, [0.025, 0.975])
    return float(low), float(high)
