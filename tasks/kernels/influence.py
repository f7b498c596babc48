"""Influence of up-weighting a training sample on the loss of a reference set: positive = harmful.

Adding ε ℓ_j to the mean training loss moves its minimum by −ε (C + λI)⁻¹ g_j, and so the mean reference loss, whose
gradient is v, by ε times

    I_j = −vᵀ (C + λI)⁻¹ g_j                                                        (Koh & Liang, ICML 2017)

in units of loss, where C is a curvature (tasks/kernels/curvature.py) and λ its damping. What differs is the inverse:

    gradient_tracing   the identity: a step of size η on z_j changes the reference loss by η I_j (TracIn; Pruthi et
                       al., NeurIPS 2020)
    exact              of the matrix, by Cholesky
    lissa              a Neumann series, cut off (Agarwal et al., JMLR 2017); over all samples it is a polynomial in C,
                       whose value at v the Lanczos process finds in a third of its products
    datainf            1/n Σ_i (g_i g_iᵀ + λI)⁻¹ = 1/(λn) Σ_i (I − g_i g_iᵀ / (λ + ‖g_i‖²)), the mean of inverses for
                       the inverse of the mean (Kwon et al., ICLR 2024)

Self-influence has g_j for −v: g_jᵀ (C + λI)⁻¹ g_j ≥ 0, how far a sample's own weight lowers its own loss.

All is said of one network: gradients taken by another live in another space. ``reference`` are gradients of other
samples taken by the same network; without it v is the mean of the gradients themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from tasks.kernels.axes import Float
from tasks.kernels.curvature import Curvature
from tasks.kernels.gradients import Gradients
from tasks.kernels.krylov import krylov
from tasks.kernels.pieces import pieces

# Products with C that the largest eigenvalue is estimated by. After q of them the Rayleigh quotient is short of it by
# a share of about ln(p) / 2q (Kuczyński & Woźniakowski, SIAM J. Matrix Anal. Appl. 1992), and half of it is enough.
_POWERS = 20


class DivergentSeries(ArithmeticError):
    """The Neumann series grows: its scale is less than half the largest eigenvalue."""


class Series(NamedTuple):
    """How a Neumann series is summed."""

    depth: int
    """Terms after the first."""
    batch: int | None = None
    """Samples whose curvature each term takes, drawn with replacement; None: all, every time."""
    scale: float | None = None
    """s; None: a bound of the largest eigenvalue."""


def damping_of(curvature: Curvature, share: float) -> float:
    """λ as a share of C's mean eigenvalue tr C / p; a share of one where there is no curvature at all.

    Of the Fisher it is share · mean ‖g‖² / p, as DataInf has it with a share of 0.1.
    """
    mean = float(curvature.traces().mean()) / curvature.parameters
    return share * (mean if mean > 0 else 1.0)


def scale_of(largest: float, damping: float) -> float:
    """s of a series over all samples, by an estimate of the largest eigenvalue that may be short of it."""
    return 1.1 * largest + damping


def gradient_tracing(gradients: Gradients, reference: Gradients | None = None) -> Float[torch.Tensor, "n"]:
    """−⟨v, g_j⟩, float64."""
    return -gradients.dots(_mean(reference or gradients))[0]


def exact(
    gradients: Gradients, curvature: Curvature, damping: float, reference: Gradients | None = None
) -> Float[torch.Tensor, "n"]:
    """−vᵀ (C + λI)⁻¹ g_j, float64; two p × p float64 are held: the matrix and its factor."""
    v = _mean(reference or gradients)
    return -gradients.dots(torch.cholesky_solve(v.T, _cholesky(curvature, damping)).T.contiguous())[0]


def datainf(
    gradients: Gradients, damping: float, reference: Gradients | None = None, base: Gradients | None = None
) -> Float[torch.Tensor, "n"]:
    """−vᵀ (1/λ) (I − 1/m Σ_i g_i g_iᵀ / (λ + ‖g_i‖²)) g_j, float64.

    Args:
        gradients: g_j of n samples.
        damping: λ.
        reference: samples whose mean gradient is v; all n, by default.
        base: the m samples i; all n, by default.
    """
    v, members = _mean(reference or gradients), base or gradients
    shares = members.dots(v) / (damping + members.squares()) / members.samples
    return -gradients.dots((v - members.weighted_sum(shares)) / damping)[0]


def lissa(
    gradients: Gradients,
    curvature: Curvature,
    damping: float,
    series: Series,
    generator: torch.Generator,
    *,
    repeats: int = 1,
    reference: Gradients | None = None,
) -> Float[torch.Tensor, "n"]:
    """−xᵀ g_j with x ≈ (C + λI)⁻¹ v, the mean of ``repeats`` series.

    Args:
        gradients: g of n samples.
        curvature: C.
        damping: λ.
        series: its depth d. The direction of an eigenvalue μ is reached but for a share (1 − (μ + λ)/s)^(d + 1).
        generator: draws the mini-batches; on the CPU.
        repeats: of mini-batches; without them all series are the same.
        reference: samples whose mean gradient is v.

    Raises:
        DivergentSeries: ``series.scale`` is too small.
    """
    v = _mean(reference or gradients)
    # In the gradients' precision: every step contracts, so that the rounding of d steps in float32 is d · 6e-8 at most.
    start, total = v.to(gradients.dtype), torch.zeros_like(v)
    for _ in range(repeats):
        draws, scale = _draw_series(curvature, damping, series, generator, start.dtype)
        total += (_inverse if series.batch else _inverse_of_all)(curvature, start, damping, draws, scale)
    return -gradients.dots(total / repeats)[0]


def largest_eigenvalue(curvature: Curvature, generator: torch.Generator, dtype: torch.dtype) -> float:
    """‖C^q w‖ / ‖C^(q − 1) w‖ of a random w, q = 20, never above the largest eigenvalue; products in ``dtype``."""
    w = torch.randn(1, curvature.parameters, generator=generator, dtype=torch.float64).to(curvature.device, dtype)

    def power(values: torch.Tensor) -> torch.Tensor:
        return (values / values.abs().amax().clamp_min(1e-300)) ** (_POWERS - 1)

    # A quotient of two lengths, the errors of which are squares of this.
    found = krylov(curvature.product, w, power, _POWERS + 1, torch.finfo(dtype).eps ** 0.5)
    if found is not None:
        shares = power(found.values) * found.first
        return float((found.values * shares).norm() / shares.norm().clamp_min(1e-300))
    value = 0.0
    for _ in range(_POWERS):
        w = curvature.product(torch.nn.functional.normalize(w.double()).to(dtype))
        value = float(w.double().norm())
    return value


def self_influence(gradients: Gradients, curvature: Curvature, damping: float) -> Float[torch.Tensor, "n"]:
    """g_jᵀ (C + λI)⁻¹ g_j = ‖L⁻¹ g_j‖² with LLᵀ = C + λI, float64."""
    lower = _cholesky(curvature, damping)
    norms = []
    for s in pieces(gradients.samples, gradients.parameters):
        columns = gradients.dense(s).double().T
        norms.append(torch.linalg.solve_triangular(lower, columns, upper=False).square().sum(0))
    return torch.cat(norms)


def self_lissa(
    gradients: Gradients, curvature: Curvature, damping: float, series: Series, generator: torch.Generator
) -> Float[torch.Tensor, "n"]:
    """g_jᵀ x_j with x_j ≈ (C + λI)⁻¹ g_j by a Neumann series for each sample.

    All samples see the same mini-batches: their scores differ by their gradients and never by a draw, and the pieces
    in which they are computed change nothing.

    Raises:
        DivergentSeries: ``series.scale`` is too small.
    """
    draws, scale = _draw_series(curvature, damping, series, generator, gradients.dtype)
    products = []
    for s in pieces(gradients.samples, gradients.parameters):
        rows = gradients.dense(s)
        products.append((rows.double() * _inverse(curvature, rows, damping, draws, scale)).sum(1))
    return torch.cat(products)


def _mean(gradients: Gradients) -> torch.Tensor:
    """v, 1 × p, in float64: gradients of both signs nearly cancel in it."""
    n = gradients.samples
    return gradients.weighted_sum(torch.full((1, n), 1 / n, dtype=torch.float64, device=gradients.device))


def _cholesky(curvature: Curvature, damping: float) -> torch.Tensor:
    """L of C + λI."""
    matrix = curvature.matrix()
    matrix.diagonal().add_(damping)
    return torch.linalg.cholesky(matrix)


def _draw_series(
    curvature: Curvature, damping: float, series: Series, generator: torch.Generator, dtype: torch.dtype
) -> tuple[list[torch.Tensor | None], float]:
    """(the samples of each term, None for all; s).

    A step contracts where s is more than half the largest eigenvalue of C_t + λI. Over all samples that eigenvalue is
    estimated and a tenth added; of mini-batches, any of which may stand out, s is the largest bound.
    """
    draws: list[torch.Tensor | None] = [None] * series.depth
    if series.batch is not None:
        index = torch.randint(curvature.samples, (series.depth, series.batch), generator=generator)
        draws = list(index.to(curvature.device))
    if series.scale is not None:
        scale = series.scale
    elif series.batch is None:
        scale = scale_of(largest_eigenvalue(curvature, generator, dtype), damping)
    else:
        scale = max(curvature.at(one).bound() for one in draws if one is not None) + damping
    return draws, scale


def _inverse(
    curvature: Curvature, v: torch.Tensor, damping: float, draws: list[torch.Tensor | None], scale: float
) -> torch.Tensor:
    """x_d / s of x_t = v + (I − (C_t + λI)/s) x_{t−1}, x_0 = v, for m rows v: → (C + λI)⁻¹ v.

    Raises:
        DivergentSeries: ‖x_d‖ > (d + 1) ‖v‖, which it cannot be if every step contracts.
    """
    x = v.clone()
    for index in draws:
        term = curvature if index is None else curvature.at(index)
        x = torch.add(v + (1 - damping / scale) * x, term.product(x), alpha=-1 / scale)
    _check_growth(x.norm(dim=1), v.norm(dim=1), len(draws), scale)
    return x.div_(scale)


def _inverse_of_all(
    curvature: Curvature, v: torch.Tensor, damping: float, draws: list[torch.Tensor | None], scale: float
) -> torch.Tensor:
    """The same of one row v where every term takes all samples, in float64: x_d = Σ_t (I − (C + λI)/s)^t v.

    With u = (μ + λ)/s that is (1 − (1 − u)^(d + 1)) / u of each eigenvalue μ.

    Raises:
        DivergentSeries: as above.
    """
    terms = len(draws) + 1

    def series(values: torch.Tensor) -> torch.Tensor:
        u = ((values + damping) / scale).clamp_min(1e-300)
        small = -torch.expm1(terms * torch.log1p(-u.clamp_max(0.5)))
        return torch.where(u < 0.5, small, 1 - (1 - u) ** terms) / u

    found = krylov(curvature.product, v, series, terms)
    if found is None:
        return _inverse(curvature, v, damping, draws, scale)
    length = v.double().norm()
    _check_growth(found.weights.norm() * length, length, len(draws), scale)
    return found.sum().mul_(length / scale).unsqueeze(0)


def _check_growth(x: torch.Tensor, v: torch.Tensor, depth: int, scale: float) -> None:
    """Lengths of the sums and of what they start from.

    Raises:
        DivergentSeries: the one is more than d + 1 times the other.
    """
    # Not a number is not within the limit either.
    if not bool((x <= 1.01 * (depth + 1) * v).all()):
        raise DivergentSeries(f"the series of {depth} terms at scale {scale:.3g}")
