"""Weights of signals, by penalised logistic regression."""

from __future__ import annotations

import numpy as np


def weigh(
    signals: np.ndarray, chances: np.ndarray, canaries: np.ndarray, canary_weight: float, evenness: float
) -> tuple[np.ndarray, float]:
    """w ≥ 0 and b that minimise, with σ the logistic function and ℓ the log loss,

        mean_i ℓ(chances_i, σ(w·x_i + b)) + canary_weight · mean_j ℓ(1, σ(w·x_j + b)) + evenness/2 Σ (w − mean w)²

    Args:
        signals: n × s, standardised.
        chances: n, the chance that each of them is wrong.
        canaries: m × s, of labels known to be wrong, standardised alike.
        canary_weight: of all canaries together.
        evenness: draws the weights towards their mean.
    """
    from scipy.optimize import minimize

    x = np.concatenate([signals, canaries])
    target = np.concatenate([chances, np.ones(len(canaries))])
    share = np.concatenate(
        [np.full(len(signals), 1 / max(len(signals), 1)), np.full(len(canaries), canary_weight / max(len(canaries), 1))]
    )

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = parameters[:-1], parameters[-1]
        z = x @ w + b
        slope = share * (np.exp(-np.logaddexp(0, -z)) - target)
        uneven = w - w.mean()
        value = (share * (np.logaddexp(0, z) - target * z)).sum() + evenness / 2 * (uneven**2).sum()
        return value, np.append(x.T @ slope + evenness * uneven, slope.sum())

    start = np.append(np.full(x.shape[1], 0.5), -1.0)
    bounds = [(0, None)] * x.shape[1] + [(None, None)]
    solution = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    return solution[:-1], float(solution[-1])
