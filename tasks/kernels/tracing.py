"""Which training samples shaped the answer to a query: influence by pair, positive = made the answer likelier.

For a training sample with gradient g_i and a query with gradient q_j, both taken by the same network,

    T_ij = g_iᵀ (F + λI)⁻¹ q_j,   F = 1/n Σ_i g_i g_iᵀ

is, to first order, how much the query's loss falls for a unit of the sample's weight (Koh & Liang, ICML 2017, with the
empirical Fisher for the Hessian); without F, TracIn's inner product (Pruthi et al., NeurIPS 2020). As cosines

    T_ij / √(g_iᵀ (F + λI)⁻¹ g_i · q_jᵀ (F + λI)⁻¹ q_j)

long gradients of samples that are hard for any reason do not answer every query (RelatIF; Barshan et al., 2020).

Pairs alone overlook a sample that teaches the same as those nearest to the query but shares few words with it. Samples
may therefore be ranked along their own neighbourhood (manifold ranking; Zhou et al., NeurIPS 2003; for queries from
outside Iscen et al., CVPR 2017): what the query's nearest have spreads over the graph of each sample's nearest,

    f = (1 − α) (I − α S)⁻¹ y,   S = D^(−1/2) A D^(−1/2)

with A the positive cosines of neighbours (half where only one has the other for a neighbour), D its row sums, and y the
query's positive traces of its nearest samples, 0 elsewhere. f is linear in y, so that what several networks say of one
query can be ranked together. A millionth of T is added: what nothing spreads to is ranked by the pairs.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from tasks.kernels.axes import Float
from tasks.kernels.neighbours import nearest

_PRECISION = 1e-6
# A smaller cosine is rounding, which a sample that has no neighbour but such must not be tied by.
_ORTHOGONAL = 1e-5


def trace_scores(
    gradients: Float[torch.Tensor, "n p"],
    queries: Float[torch.Tensor, "q p"],
    *,
    damping: float | None,
    cosine: bool,
    neighbours: int = 0,
    restart: float = 0.1,
) -> Float[torch.Tensor, "q n"]:
    """T transposed, float32: one row a query; one p × p matrix is held where there is a damping.

    Args:
        gradients: of the training samples.
        queries: of the queries, by the same network.
        damping: λ as a share of the mean eigenvalue tr F / p; None leaves F out.
        cosine: whether lengths count for nothing.
        neighbours: of each sample in the graph, as far as there are so many; half as many, rounded up, are where it
            spreads from. 0: pairs alone.
        restart: 1 − α.
    """
    if damping is not None:
        g = gradients.double()
        fisher = g.T @ g / len(g)
        mean = float(fisher.diagonal().mean()) or 1.0
        fisher.diagonal().add_(damping * mean)
        # L⁻¹ on both sides instead of the inverse on one: lengths are then those of the rows themselves.
        factor = torch.linalg.cholesky(fisher)
        gradients, queries = (
            torch.linalg.solve_triangular(factor, side.double().T, upper=False).T for side in (gradients, queries)
        )
    if cosine:
        gradients, queries = (functional.normalize(side, dim=1) for side in (gradients, queries))
    traces = (queries @ gradients.T).float()
    if not neighbours:
        return traces
    neighbours = min(neighbours, len(gradients) - 1)
    return _spread(traces, _graph(gradients.float(), neighbours), max(1, -(-neighbours // 2)), restart)


def _graph(gradients: Float[torch.Tensor, "n p"], neighbours: int) -> torch.Tensor:
    """S, n × n, sparse."""
    n = len(gradients)
    unit, themselves = functional.normalize(gradients, dim=1), torch.arange(n, device=gradients.device)
    blocks = list(nearest(unit, unit, themselves, neighbours))
    columns = torch.cat([indices for _, indices, _ in blocks]).flatten()
    rows = themselves.repeat_interleave(neighbours)
    # 2⟨a, b⟩ = ‖a‖² + ‖b‖² − ‖a − b‖², where a gradient that is nothing has no direction.
    lengths, apart = unit.square().sum(1), torch.cat([distances for *_, distances in blocks]).flatten()
    cosines = (lengths[rows] + lengths[columns] - apart.square()) / 2
    cosines = torch.where(cosines > _ORTHOGONAL, cosines, 0.0)
    both = torch.stack([torch.cat([rows, columns]), torch.cat([columns, rows])])
    adjacent = torch.sparse_coo_tensor(both, cosines.repeat(2) / 2, (n, n), check_invariants=True).coalesce()
    indices, weights = adjacent.indices(), adjacent.values()
    degree = torch.zeros(n, device=weights.device).index_add_(0, indices[0], weights)
    scale = torch.where(degree > 0, degree.rsqrt(), 0.0)
    values = weights * scale[indices[0]] * scale[indices[1]]
    return torch.sparse_coo_tensor(indices, values, (n, n), check_invariants=True, is_coalesced=True)


def _spread(
    traces: Float[torch.Tensor, "q n"], graph: torch.Tensor, seeds: int, restart: float
) -> Float[torch.Tensor, "q n"]:
    """f, by its own equation f = α S f + (1 − α) y, to a millionth of y; and what ranks what has none."""
    top = traces.topk(seeds, dim=1)
    start = torch.zeros_like(traces).scatter_(1, top.indices, top.values.clamp_min(0)).T.contiguous()
    # The error falls by α a step, for the eigenvalues of S lie between −1 and 1.
    steps = math.ceil(math.log(_PRECISION) / math.log1p(-restart)) if restart < 1 else 1
    spread = start
    for _ in range(steps):
        spread = torch.addmm(start, graph, spread, beta=restart, alpha=1 - restart)
    return torch.add(spread.T, traces, alpha=_PRECISION)


def shares_alike(
    traces: Float[np.ndarray, "q n"], alike: np.ndarray
) -> tuple[Float[np.ndarray, "q"], Float[np.ndarray, "q"]]:
    """Of each query (ROC AUC of its traces for the samples that are like it; share of these among as many on top).

    A query that all or none are like has NaN.

    Args:
        traces: one row a query.
        alike: q × n, whether a sample is of the query's own kind.
    """
    n, count = traces.shape[1], alike.sum(1)
    # Ranks from 1, ties in their order (real traces hardly tie): AUC is Mann & Whitney's U over both numbers.
    order = np.argsort(traces, axis=1, kind="stable")
    rank = np.empty(traces.shape)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(1.0, n + 1), traces.shape), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        auc = ((rank * alike).sum(1) - count * (count + 1) / 2) / (count * (n - count))
        top = rank > (n - count)[:, None]
        recall = (top & alike).sum(1) / count
    is_undefined = (count == 0) | (count == n)
    return np.where(is_undefined, np.nan, auc), np.where(is_undefined, np.nan, recall)
