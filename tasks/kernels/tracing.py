"""Which training samples shaped the answer to a query: influence by pair, positive = made the answer likelier.

For a training sample with gradient g_i and a query with gradient q_j, both taken by the same network,

    T_ij = g_iᵀ (F + λI)⁻¹ q_j,   F = 1/n Σ_i g_i g_iᵀ

is, to first order, how much the query's loss falls for a unit of the sample's weight (Koh & Liang, ICML 2017, with the
empirical Fisher for the Hessian); without F, TracIn's inner product (Pruthi et al., NeurIPS 2020). As cosines

    T_ij / √(g_iᵀ (F + λI)⁻¹ g_i · q_jᵀ (F + λI)⁻¹ q_j)

long gradients of samples that are hard for any reason do not answer every query (RelatIF; Barshan et al., 2020).
"""

from __future__ import annotations

import numpy as np
import torch

from tasks.kernels.axes import Float


def traced(
    gradients: Float[torch.Tensor, "n p"],
    queries: Float[torch.Tensor, "q p"],
    *,
    damping: float | None,
    cosine: bool,
) -> Float[torch.Tensor, "q n"]:
    """T transposed, float32: one row a query; one p × p matrix is held where there is a damping.

    Args:
        gradients: of the training samples.
        queries: of the queries, by the same network.
        damping: λ as a share of the mean eigenvalue tr F / p; None leaves F out.
        cosine: whether lengths count for nothing.
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
        gradients, queries = (torch.nn.functional.normalize(side, dim=1) for side in (gradients, queries))
    return (queries @ gradients.T).float()


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
    undefined = (count == 0) | (count == n)
    return np.where(undefined, np.nan, auc), np.where(undefined, np.nan, recall)
