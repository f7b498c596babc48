"""Samples of the honesty benchmark before any label is flipped: generated, bundled with scikit-learn, or real ones."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BENCH = Path(os.environ.get("GRADSIEVE_BENCH") or Path(__file__).resolve().parents[3] / "shared" / "bench")
"""Real sets, beside the repository or where the variable says."""
FASHION = Path(os.environ.get("GRADSIEVE_FASHION") or "/usr/share/datasets/fashion-mnist")
"""Fashion-MNIST, gzipped IDX."""
WHENCE = "set GRADSIEVE_BENCH to the real sets, GRADSIEVE_FASHION to what Debian's dataset-fashion-mnist installs"


@dataclass(frozen=True)
class Rows:
    """n samples, their true labels, and the labels that a run is given."""

    inputs: pa.Array
    """n lists of numbers, or n texts."""
    truth: list[str]
    given: list[str]
    target: str = "class"
    x: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """What noise may follow from, n × d; of texts there is none."""

    def noised(self, given: list[str]) -> Rows:
        """The same samples under other labels."""
        return replace(self, given=given)

    @property
    def wrong(self) -> np.ndarray:
        """Whether each given label is another than the true one."""
        return np.array([a != b for a, b in zip(self.truth, self.given, strict=True)])


Source = Callable[[np.random.Generator], Rows]


def vectors(x: np.ndarray, truth: Any, target: str = "class") -> Rows:
    """Numbers, float32."""
    flat = np.ascontiguousarray(x, np.float32)
    labels = [str(label) for label in truth]
    inputs = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    return Rows(inputs, labels, labels, target, x)


def texts(text: pa.ChunkedArray, truth: list[str]) -> Rows:
    """Texts, as they stand."""
    return Rows(text.cast(pa.string()).combine_chunks(), truth, truth)


def clusters(n: int, classes: int, *, dims: int = 10, apart: float = 5.0, rare: float | None = None) -> Source:
    """Normal clouds around centres ``apart`` from the origin; ``rare`` is the share of the last class."""

    def draw(rng: np.random.Generator) -> Rows:
        centres = rng.standard_normal((classes, dims))
        centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
        shares = np.full(classes, 1 / classes)
        if rare is not None:
            shares = np.append(np.full(classes - 1, (1 - rare) / (classes - 1)), rare)
        counts = np.floor(shares * n).astype(int)
        counts[0] += n - counts.sum()
        y = rng.permutation(np.repeat(np.arange(classes), counts))
        return vectors(centres[y] + rng.standard_normal((n, dims)), [f"c{label:03d}" for label in y])

    return draw


def half_blank(n: int, shares: list[float], *, dims: int = 10, apart: float = 5.0) -> Source:
    """Clouds of classes of these shares; every second row lies around the origin, whatever its class."""

    def draw(rng: np.random.Generator) -> Rows:
        centres = rng.standard_normal((len(shares), dims))
        centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
        y = rng.choice(len(shares), n, p=shares)
        tells = rng.random(n) < 0.5
        return vectors(tells[:, None] * centres[y] + rng.standard_normal((n, dims)), [f"c{label}" for label in y])

    return draw


def moons(n: int, spread: float) -> Source:
    """scikit-learn's half moons."""

    def draw(rng: np.random.Generator) -> Rows:
        from sklearn.datasets import make_moons

        x, y = make_moons(n, noise=spread, random_state=int(rng.integers(2**31)))
        return vectors(np.asarray(x), y)

    return draw


def overlap(n: int, classes: int, bayes: float, dims: int = 8) -> Source:
    """Labels drawn from p(x), softmax of linear scores; nobody can be right on more than ``bayes`` of them."""

    def draw(rng: np.random.Generator) -> Rows:
        x = rng.standard_normal((n, dims))
        scores = x @ rng.standard_normal((dims, classes))
        low, high = 0.0, 20.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if _softmax(middle * scores).max(1).mean() < bayes else (low, middle)
        p = _softmax(low * scores)
        y = (p.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=classes - 1)
        return vectors(x, y)

    return draw


def chance(n: int, classes: int, dims: int = 8) -> Source:
    """Labels that follow from a column nobody is given: every network is at chance."""

    def draw(rng: np.random.Generator) -> Rows:
        return vectors(rng.standard_normal((n, dims)), rng.integers(classes, size=n))

    return draw


def bundled(name: str) -> Source:
    """One of scikit-learn's classification sets: digits, wine, breast_cancer."""

    def draw(rng: np.random.Generator) -> Rows:
        import sklearn.datasets

        loaded: Any = getattr(sklearn.datasets, f"load_{name}")()
        return vectors(loaded.data, loaded.target)

    return draw


def diabetes(rng: np.random.Generator) -> Rows:
    """scikit-learn's 442 patients: a number of ten numbers."""
    from sklearn.datasets import load_diabetes

    loaded: Any = load_diabetes()
    return vectors(loaded.data, loaded.target, "number")


def friedman(n: int, tails: float | None = None) -> Source:
    """Friedman's first function of five of ten inputs, with normal residuals, or t-distributed ones of few degrees."""

    def draw(rng: np.random.Generator) -> Rows:
        x = rng.random((n, 10))
        y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
        noise = rng.standard_normal(n) if tails is None else rng.standard_t(tails, n)
        return vectors(x, np.round(y + noise, 4), "number")

    return draw


def sets(n: int, labels: int, dims: int = 12) -> Source:
    """Any number of labels, at least one: each holds on one side of a plane of its own."""

    def draw(rng: np.random.Generator) -> Rows:
        x = rng.standard_normal((n, dims))
        scores = x @ rng.standard_normal((dims, labels)) / dims**0.5 - 0.4
        there = scores > np.minimum(0, scores.max(1, keepdims=True) - 1e-9)
        return vectors(x, ["|".join(f"l{j}" for j in np.flatnonzero(row)) for row in there], "labels")

    return draw


def topics(n: int, labels: int, dims: int = 12, apart: float = 3.0) -> Source:
    """One to three labels of each sample, whose inputs are the sum of their centres, and noise."""

    def draw(rng: np.random.Generator) -> Rows:
        centres = rng.standard_normal((labels, dims))
        centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
        place = rng.random((n, labels)).argsort(1).argsort(1)
        there = place < rng.integers(1, 4, (n, 1))
        x = there @ centres + rng.standard_normal((n, dims))
        return vectors(x, ["|".join(f"l{j}" for j in np.flatnonzero(row)) for row in there], "labels")

    return draw


def cifar10n(labels: str, n: int) -> Source:
    """The first n pictures, as embeddings; people's labels (``aggre`` or ``worse``) against the verified ones."""

    def draw(rng: np.random.Generator) -> Rows:
        table = pq.read_table(BENCH / "cifar10n-embeddings" / "train.parquet").slice(0, n)
        truth, given = ([str(label) for label in table[name].to_pylist()] for name in ("clean", labels))
        return Rows(table["embedding"].combine_chunks(), truth, given)

    return draw


def fashion(n: int) -> Source:
    """n of Fashion-MNIST's 60,000 pictures."""

    def draw(rng: np.random.Generator) -> Rows:
        with gzip.open(FASHION / "train-images-idx3-ubyte.gz") as images:
            pixels = np.frombuffer(images.read(), np.uint8, offset=16).reshape(-1, 784)
        with gzip.open(FASHION / "train-labels-idx1-ubyte.gz") as labels:
            classes = np.frombuffer(labels.read(), np.uint8, offset=8)
        few = np.sort(rng.permutation(len(pixels))[:n])
        truth = [str(label) for label in classes[few]]
        return Rows(pa.FixedSizeListArray.from_arrays(pa.array(pixels[few].ravel()), 784), truth, truth)

    return draw


def trec(labels: str) -> Source:
    """4,965 questions: labels ``weak`` (by rules) or ``clean`` (by people)."""

    def draw(rng: np.random.Generator) -> Rows:
        table = pq.read_table(BENCH / "trec-weak" / "train.parquet")
        return texts(table["text"], table["clean"].to_pylist()).noised(table[labels].to_pylist())

    return draw


def banking(n: int) -> Source:
    """n of the 10,003 questions to a bank, 77 intents. Some of its own labels are wrong, and count as right here."""

    def draw(rng: np.random.Generator) -> Rows:
        table = pq.read_table(BENCH / "banking77" / "train.parquet")
        table = table.take(pa.array(np.sort(rng.permutation(table.num_rows)[:n])))
        return texts(table["text"], table["category"].to_pylist())

    return draw


def short_texts(n: int, share: float) -> Source:
    """Like an inbox with spam: so large a share are questions to a bank, all others general questions."""

    def draw(rng: np.random.Generator) -> Rows:
        files = (BENCH / "banking77" / "train.parquet", BENCH / "trec-weak" / "train.parquet")
        few = round(share * n)
        parts = [pq.read_table(file, columns=["text"])["text"].combine_chunks() for file in files]
        parts = [
            part.take(pa.array(rng.permutation(len(part))[:m])) for part, m in zip(parts, (few, n - few), strict=True)
        ]
        order = pa.array(rng.permutation(n))
        text = pa.chunked_array([pa.concat_arrays(parts).take(order)])
        return texts(text, pc.if_else(pc.less(order, few), "bank", "general").to_pylist())

    return draw


def sst2(n: int) -> Source:
    """n film reviews' phrases of four words and more, positive or negative."""

    def draw(rng: np.random.Generator) -> Rows:
        table = pq.read_table(BENCH / "glue" / "sst2_train.parquet")
        table = table.filter(pc.greater(pc.count_substring(table["sentence"], " "), 3))
        table = table.take(pa.array(np.sort(rng.permutation(table.num_rows)[:n])))
        return texts(table["sentence"], [str(label) for label in table["label"].to_pylist()])

    return draw


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
