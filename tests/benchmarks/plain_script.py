"""What the main job does, by hand: digits, five folds, outlier scores, and twenty retrainings; no gradsieve.

    python tests/benchmarks/plain_script.py

torch for the networks (the same perceptron and recipe, one after the other), scikit-learn for the data and the folds,
PyOD for the scores of the last layer's gradients. It keeps nothing, proves nothing by an interval and publishes
nothing: it is what a run is measured against.
"""

from __future__ import annotations

import numpy as np
import torch
from pyod.models.iforest import IForest
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, train_test_split
from torch import nn

EPOCHS, BATCH, LR, DECAY, HIDDEN, SEEDS, NOISE = 60, 64, 3e-3, 5e-4, 128, 5, 0.1


def trained(x: torch.Tensor, y: torch.Tensor, seed: int, steps: int) -> nn.Module:
    """A perceptron after so many steps of AdamW under one cycle."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
    mean, std = x.mean(0), x.std(0).clamp_min(1e-6)
    x = (x - mean) / std
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps + 1, cycle_momentum=False)
    done = 0
    while done < steps:
        for rows in torch.randperm(len(x)).split(BATCH)[: steps - done]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
            done += 1
    return nn.Sequential(_Standardized(mean, std), network).eval()


class _Standardized(nn.Module):
    def __init__(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(x − mean) / std."""
        return (x - self.mean) / self.std


@torch.no_grad()
def head_gradients(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
    """(gradients of the last layer, n × 1,290; the logits)."""
    features = network[1][:2](network[0](x))  # type: ignore[index]
    logits = network[1][2](features)  # type: ignore[index]
    residuals = torch.softmax(logits, 1) - nn.functional.one_hot(y, 10)
    features = torch.cat([features, torch.ones(len(x), 1)], 1)
    return torch.einsum("nk,nd->nkd", residuals, features).flatten(1).numpy(), logits


def main() -> None:
    """Print what was found and what it did to the accuracy."""
    torch.set_num_threads(1)
    x, truth = load_digits(return_X_y=True)
    x, truth = torch.from_numpy(x).float(), torch.from_numpy(truth).long()
    train, test = train_test_split(np.arange(len(x)), test_size=0.2, stratify=truth, random_state=0)
    rng, y = np.random.default_rng(0), truth.clone()
    wrong = rng.choice(train, round(NOISE * len(train)), replace=False)
    y[wrong] = (y[wrong] + torch.from_numpy(rng.integers(1, 10, len(wrong)))) % 10
    scores = np.zeros(len(x))
    for fold, (kept, held) in enumerate(StratifiedKFold(5, shuffle=True, random_state=0).split(train, y[train])):
        steps = EPOCHS * -(-len(kept) // BATCH)
        network = trained(x[train[kept]], y[train[kept]], fold, steps)
        gradients, _ = head_gradients(network, x[train[held]], y[train[held]])
        scores[train[held]] = IForest(n_estimators=100, random_state=0).fit(gradients).decision_scores_
    flagged = train[np.argsort(-scores[train])[: len(wrong)]]
    arms = {"untouched": train, "cleaned": np.setdiff1d(train, flagged)}
    steps = EPOCHS * -(-len(train) // BATCH)
    relabelled = y.clone()
    network = trained(x[arms["cleaned"]], y[arms["cleaned"]], 99, steps)
    relabelled[flagged] = network(x[flagged]).argmax(1)
    for name in ("untouched", "cleaned", "random", "relabelled"):
        accuracies = []
        for seed in range(SEEDS):
            rows = arms.get(name, train)
            if name == "random":
                rows = np.random.default_rng(seed).choice(train, len(arms["cleaned"]), replace=False)
            network = trained(x[rows], relabelled[rows] if name == "relabelled" else y[rows], 1000 + seed, steps)
            accuracies.append(float((network(x[test]).argmax(1) == truth[test]).float().mean()))
        print(f"{name:>10} {np.mean(accuracies):.4f}")
    print(f"{len(np.intersect1d(flagged, wrong))} of {len(wrong)} wrong labels among {len(flagged)} flagged")


if __name__ == "__main__":
    main()
