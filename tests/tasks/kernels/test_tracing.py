"""A trace is the fall of a query's loss for a unit of a training sample's weight, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from tasks.kernels.tracing import shares_alike, trace_scores


def gradients(n, p, seed):
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed))


def naive(g, q, damping, cosine):
    n, p = g.shape
    inverse = np.eye(p)
    if damping is not None:
        fisher = sum(np.outer(row, row) for row in g.double().numpy()) / n
        inverse = np.linalg.inv(fisher + damping * np.trace(fisher) / p * np.eye(p))
    found = np.empty((len(q), n))
    for j, b in enumerate(q.double().numpy()):
        for i, a in enumerate(g.double().numpy()):
            lengths = np.sqrt((a @ inverse @ a) * (b @ inverse @ b)) if cosine else 1.0
            found[j, i] = a @ inverse @ b / lengths
    return found


@pytest.mark.parametrize("damping", [None, 0.1, 10.0])
@pytest.mark.parametrize("cosine", [False, True])
def test_every_pair_is_what_the_formula_says(damping, cosine):
    g, q = gradients(9, 5, 0), gradients(4, 5, 1)
    found = trace_scores(g, q, damping=damping, cosine=cosine)
    np.testing.assert_allclose(found.numpy(), naive(g, q, damping, cosine), rtol=1e-4, atol=1e-5)


def test_a_trace_is_the_fall_of_the_querys_loss_when_the_sample_weighs_more():
    """Of a regression, fitted again: the derivative by a sample's weight."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 3)), rng.normal(size=400)
    query, answer = rng.normal(size=3), 0.7

    def fitted(weights):
        return np.linalg.solve((x * weights[:, None]).T @ x, (x * weights[:, None]).T @ y)

    even, more = np.full(400, 1 / 400), np.full(400, 1 / 400)
    more[5] += 1e-6
    w = fitted(even)
    fall = ((query @ w - answer) ** 2 - (query @ fitted(more) - answer) ** 2) / 2 / 1e-6
    g, q = (x @ w - y)[:, None] * x, (query @ w - answer) * query
    # Of normal residuals of variance s² the Fisher is s² times the Hessian.
    variance = ((x @ w - y) ** 2).mean()
    found = trace_scores(torch.from_numpy(g), torch.from_numpy(q[None]), damping=1e-9, cosine=False)[0, 5] * variance
    assert float(found) == pytest.approx(fall, rel=0.15)


def test_a_sample_like_the_query_is_on_top_and_lengths_do_not_matter_to_a_cosine():
    g = gradients(50, 8, 0)
    q = 3 * g[7:8] + 0.1 * gradients(1, 8, 1)
    assert int(trace_scores(g, q, damping=0.1, cosine=True).argmax()) == 7
    scaled = g.clone()
    scaled[3] *= 100
    plain = trace_scores(g, q, damping=None, cosine=True)
    torch.testing.assert_close(trace_scores(scaled, q, damping=None, cosine=True), plain)


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize(("neighbours", "restart"), [(1, 0.1), (4, 0.1), (4, 0.5), (4, 1.0), (99, 0.3)])
def test_ranks_along_neighbours_are_what_the_equation_of_manifold_ranking_says(neighbours, restart, cosine):
    g, q = gradients(12, 5, 0), gradients(6, 5, 1)
    found = trace_scores(g, q, damping=None, cosine=cosine, neighbours=neighbours, restart=restart)
    k, n = min(neighbours, 11), 12
    unit = (g / g.norm(dim=1, keepdim=True)).double().numpy()
    graph = np.zeros((n, n))
    for i in range(n):
        cosines = [(-np.inf if j == i else float(unit[i] @ unit[j])) for j in range(n)]
        for j in np.argsort(cosines)[-k:]:
            graph[i, j] += max(cosines[j], 0) / 2
            graph[j, i] += max(cosines[j], 0) / 2
    degree = graph.sum(1)
    s = np.array(
        [[graph[i, j] / np.sqrt(degree[i] * degree[j]) if graph[i, j] else 0 for j in range(n)] for i in range(n)]
    )
    for row, pairs in zip(found.double().numpy(), naive(g, q, None, cosine), strict=True):
        y = np.zeros(n)
        for i in np.argsort(pairs)[-((k + 1) // 2) :]:
            y[i] = max(pairs[i], 0)
        np.testing.assert_allclose(row, restart * np.linalg.solve(np.eye(n) - (1 - restart) * s, y), atol=1e-5)


def test_along_neighbours_is_found_what_is_like_the_querys_nearest_and_not_like_the_query():
    """Two rings that come near each other: the far side of the query's own lies farther off than the other ring."""
    angle = torch.linspace(0, 2 * torch.pi, 41)[:-1]
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    g = torch.cat([torch.cat([ring + torch.tensor([shift, 0.0]), torch.full((40, 1), 9.0)], 1) for shift in (0.0, 2.5)])
    q, alike = torch.tensor([[1.0, 0.0, 9.0]]), np.repeat([True, False], 40)[None]
    assert shares_alike(trace_scores(g, q, damping=None, cosine=True).numpy(), alike)[1][0] < 0.8
    assert shares_alike(trace_scores(g, q, damping=None, cosine=True, neighbours=4).numpy(), alike)[1][0] == 1.0


def test_what_nothing_spreads_to_is_ranked_by_the_pairs():
    near, far = torch.eye(8)[:1], torch.eye(8)[[4, 5, 6, 7]]
    g = torch.cat([near + 0.01 * torch.eye(8)[[1, 2, 3]], far])
    q = near + 0.1 * torch.tensor([[0, 0, 0, 0, 0.1, 0.4, 0.2, 0.3]])
    found = trace_scores(g, q, damping=None, cosine=True, neighbours=2)[0]
    assert found[:3].min() > 0.1
    assert found[3:].argsort(descending=True).tolist() == [1, 3, 2, 0]


def test_the_only_sample_of_a_network_has_what_is_its_own():
    found = trace_scores(
        torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]), damping=None, cosine=True, neighbours=5
    )
    assert found.item() == pytest.approx(0.1 * 0.6, rel=1e-4)


def test_a_query_that_nothing_answers_and_a_sample_without_a_gradient_are_ranked_last():
    g = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 0.0]])
    found = trace_scores(g, torch.tensor([[-1.0, -0.1], [1.0, 0.0]]), damping=None, cosine=True, neighbours=1)
    assert found.isfinite().all()
    assert found[0, 2] == 0 > found[0, :2].max() > -1e-5
    assert found[1, :2].min() > 0 == found[1, 2]


def test_shares_alike_are_sklearns_auc_and_the_counted_share_and_nothing_of_all_or_none():
    rng = np.random.default_rng(0)
    traces, alike = rng.normal(size=(5, 40)).astype(np.float32), rng.random((5, 40)) < 0.3
    alike[3], alike[4] = True, False
    auc, recall = shares_alike(traces, alike)
    for j in range(3):
        assert auc[j] == pytest.approx(roc_auc_score(alike[j], traces[j]))
        top = np.argsort(-traces[j])[: alike[j].sum()]
        assert recall[j] == alike[j][top].mean()
    assert np.isnan(auc[3:]).all()
    assert np.isnan(recall[3:]).all()
