"""The paper's half moons: 250 points, 20 flipped labels, a tenth trimmed; detection, and accuracy after trimming.

    python tests/benchmarks/moons.py [--seeds 20] [--spread 0.1]

Two columns of accuracy: the paper's own network (2-2-2-1, ReLU, BCE, Adam 1e-3, weight decay 1e-4, 5,000 full-batch
epochs), which on some seeds cannot draw the boundary at all, whatever it is trained on; and one with 64 hidden units,
which can. The paper's variants take in-sample gradients of the last layer of its own network, ours out-of-fold evidence
of gradsieve's default run with 64 hidden units. The points' spread is not in the paper.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import argparse
import logging
import tempfile
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from detection import observe
from scipy import stats
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from tasks.config import CleanConfig
from tasks.dataset.samples import load
from tasks.evaluation.experiments.toys import half_moons
from tasks.scoring.detectors import DetectorChoice
from tasks.scoring.evidence import Evidence

OURS = ["fusion", "label_flow", "margin", "neighbours", "l2", "self_confidence"]
TRIMMED = 0.1


class Networks:
    """M networks trained side by side, each on its own points with its own weights of the samples."""

    def __init__(self, count: int, widths: list[int], seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.layers: list[tuple[torch.Tensor, torch.Tensor]] = []
        for inside, outside in pairwise(widths):
            bound = inside**-0.5

            def uniform(*shape: int, bound: float = bound) -> torch.Tensor:
                return ((torch.rand(*shape, generator=generator) * 2 - 1) * bound).requires_grad_()

            self.layers.append((uniform(count, inside, outside), uniform(count, 1, outside)))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Last hidden layer, M × n × h."""
        for weight, bias in self.layers[:-1]:
            x = torch.relu(torch.baddbmm(bias, x, weight))
        return x

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """M × n."""
        weight, bias = self.layers[-1]
        return torch.baddbmm(bias, self.features(x), weight).squeeze(2)

    def fit(self, x: torch.Tensor, y: torch.Tensor, kept: torch.Tensor, epochs: int) -> Networks:
        """Full-batch Adam on the mean loss of the kept samples."""
        parameters = [p for layer in self.layers for p in layer]
        adam = torch.optim.Adam(parameters, lr=1e-3, weight_decay=1e-4)
        for _ in range(epochs):
            losses = bce(self.logits(x), y, reduction="none")
            loss = ((losses * kept).sum(1) / kept.sum(1)).sum()
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
        return self


def ours(spread: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """(points, given labels, which are wrong, suspicion by detector) of one default run."""
    with tempfile.TemporaryDirectory() as lake:
        noise = {"share": 0.08, "exact": True, "seed": seed}
        path = f"{lake}/moons.parquet"
        pq.write_table(half_moons(spread, seed), path)
        config = CleanConfig.model_validate(
            {
                "lake": lake,
                "dataset": "moons",
                "reader": {"kind": "parquet", "path": path, "split": "split", "noise": noise},
                "model": {"kind": "mlp", "hidden": [64]},
                "training": {"epochs": 100, "batch_size": 32, "lr": 0.01, "seed": 1000 * seed},
                "canaries": {"seed": seed},
            }
        )
        evidence, wrong = observe(config)
        x = inputs_of(evidence)
        return x, evidence.labels, wrong, {k: evidence.score(DetectorChoice(kind=k).component) for k in OURS}


def inputs_of(evidence: Evidence) -> np.ndarray:
    """The points, in the order of the evidence."""
    inputs = load(evidence.run, evidence.samples, "train")
    place = pc.index_in(evidence.ids, value_set=pa.array(inputs.ids, pa.string()))
    return inputs.x.numpy()[place.to_numpy()]


def theirs(network: Networks, x: torch.Tensor, y: torch.Tensor) -> dict[str, np.ndarray]:
    """The paper's variants, M × n each: in-sample gradients of the last layer, L1, L2, PyOD's forest."""
    with torch.no_grad():
        residual = torch.sigmoid(network.logits(x)) - y
        features = torch.cat([network.features(x), torch.ones(*x.shape[:2], 1)], 2)
        gradients = (residual.unsqueeze(2) * features).numpy()
    forest = np.stack([_forest(g, i) for i, g in enumerate(gradients)])
    return {"L1": np.abs(gradients).sum(2), "L2": (gradients**2).sum(2), "iForest": forest}


def _forest(gradients: np.ndarray, seed: int) -> np.ndarray:
    from pyod.models.iforest import IForest

    scores = IForest(random_state=seed).fit(gradients).decision_scores_
    assert scores is not None
    return scores


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--spread", type=float, default=0.1)
    asked = parser.parse_args()
    logging.disable(logging.INFO)
    runs = [ours(asked.spread, seed) for seed in range(1, asked.seeds + 1)]
    x = torch.from_numpy(np.stack([run[0] for run in runs])).float()
    y = torch.from_numpy(np.stack([run[1] for run in runs])).float()
    wrong = np.stack([run[2] for run in runs])
    tests = [HalfMoonsTest(asked.spread, seed) for seed in range(1, asked.seeds + 1)]
    test_x = torch.from_numpy(np.stack([t.x for t in tests])).float()
    test_y = torch.from_numpy(np.stack([t.y for t in tests]))
    mean, spread = x.mean(1, keepdim=True), x.std(1, keepdim=True)
    x, test_x = (x - mean) / spread, (test_x - mean) / spread
    everyone = torch.ones_like(y)
    first = Networks(len(runs), [2, 2, 2, 1], 0).fit(x, y, everyone, 5000)
    scores = {f"paper: {name}": s for name, s in theirs(first, x, y).items()}
    scores |= {f"ours: {name}": np.stack([run[3][name] for run in runs]) for name in OURS}
    generator = np.random.default_rng(0)
    scores["random"] = generator.random(wrong.shape)
    rows = {"untrimmed": everyone} | {name: _kept(s) for name, s in scores.items()}
    accuracy = {
        name: [_accuracy(kept, x, y, test_x, test_y, widths) for widths in ([2, 2, 2, 1], [2, 64, 1])]
        for name, kept in rows.items()
    }
    print(f"spread {asked.spread}, {asked.seeds} seeds; detection and accuracy in %, mean ± half a 95 % interval")
    print("| trimmed by | detection | accuracy, 2-2-2-1 | accuracy, 2-64-1 |\n|---|---|---|---|")
    for name, kept in rows.items():
        found = ((kept.numpy() == 0) & wrong).sum(1) / wrong.sum(1)
        print(f"| {name} | {_interval(found)} | {_interval(accuracy[name][0])} | {_interval(accuracy[name][1])} |")


class HalfMoonsTest:
    """The run's own test points."""

    def __init__(self, spread: float, seed: int) -> None:
        points = half_moons(spread, seed)
        points = points.filter(pc.equal(points["split"], "test"))
        self.x = np.stack([points[name].to_numpy() for name in ("x0", "x1")], 1)
        self.y = points["label"].to_numpy()


def _kept(scores: np.ndarray) -> torch.Tensor:
    count = round(TRIMMED * scores.shape[1])
    kept = np.ones(scores.shape)
    np.put_along_axis(kept, np.argsort(-scores, axis=1, kind="stable")[:, :count], 0, 1)
    return torch.from_numpy(kept).float()


def _accuracy(
    kept: torch.Tensor, x: torch.Tensor, y: torch.Tensor, test_x: torch.Tensor, test_y: torch.Tensor, widths: list[int]
) -> np.ndarray:
    networks = Networks(len(x), widths, 1).fit(x, y, kept, 5000)
    with torch.no_grad():
        return ((networks.logits(test_x) > 0).long() == test_y).float().mean(1).numpy()


def _interval(values: np.ndarray) -> str:
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{100 * values.mean():.1f} ± {100 * half:.1f}"


if __name__ == "__main__":
    main()
