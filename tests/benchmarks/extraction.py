"""The extraction stage as a whole: memory, disk, workers, and what an increment costs. Ratios, in one table.

    OMP_NUM_THREADS=1 python tests/benchmarks/extraction.py [--quick | --workers]

Everything runs the product's own verbs on generated samples (an MLP on 64-d vectors; the small CNN on 28 × 28 images
for the increment), the gradient kind ``layers`` projected to 512 values. Memory is the largest resident set, mapped
files apart, that a process of its own has between shards; writing is against one sequential write of the same bytes,
both with an fsync at their end.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Literal

# Prefect imports every installed collection (dask, ray) before its temporary server answers.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from tasks.dataset.payload import Payload
from tasks.gradients.extract import extract
from tasks.gradients.kinds.layers import Layers
from tasks.gradients.shards import GradientShards, ShardWriter
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.recorded_run import reference
from tasks.pipeline.schemas import FOLDS, SAMPLES
from tasks.planning.make_folds import make_folds
from tasks.planning.plan import Plan
from tasks.training.models import Model
from tasks.training.models.cnn import Cnn
from tasks.training.models.mlp import Mlp
from tasks.training.recipe import Recipe, Training
from tasks.training.train import train

CLASSES, SHARD = [str(i) for i in range(10)], 5000
TRAINING = Training(epochs=1, batch_size=512, device="cpu")
Kind = tuple[tuple[int, ...], Model]
Row = tuple[str, str, str, float]
Runners = Literal["processes", "dask", "ray"]
RUNNERS: list[Runners] = ["processes", "dask", "ray"]
VECTORS, IMAGES = ((64,), Mlp(hidden=[128])), ((1, 28, 28), Cnn(width=16))


def samples_of(run: Run, n: int, shape: tuple[int, ...], shard: int) -> Artefact:
    """n ingested samples of random values, made shard by shard."""
    payload = Payload(kind="array", columns=("x",), shape=shape, dtype="float32")
    with run.draft("samples") as draft:
        for first in range(0, n, shard):
            rows = min(shard, n - first)
            write_samples(draft.path(f"samples/train-{first // shard:05d}.parquet", rows), first, rows, shape, "train")
        write_samples(draft.path("samples/test-00000.parquet", 100), n, 100, shape, "test")
        return draft.commit(
            payload=payload.model_dump(mode="json"),
            classes=CLASSES,
            splits={"train": n, "validation": 0, "test": 100},
            leaking_duplicates=0,
            rejects={},
        )


def write_samples(path: Path, first: int, rows: int, shape: tuple[int, ...], split: str) -> None:
    generator = np.random.default_rng(first)
    x = generator.normal(size=(rows, math.prod(shape))).astype(np.float32)
    columns = {
        "sample_id": [f"{i:032x}" for i in range(first, first + rows)],
        "source": ["generated"] * rows,
        "row": np.arange(first, first + rows),
        "split": [split] * rows,
        "label": [CLASSES[i] for i in generator.integers(10, size=rows)],
        "clean_label": [None] * rows,
        "group": [None] * rows,
        "source_id": [None] * rows,
    }
    table = pa.table([pa.array(columns[field.name], field.type) for field in SAMPLES], schema=SAMPLES)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
    pq.write_table(table.append_column("x", vectors), path)


class Stage:
    """Samples, folds, no canaries and one checkpoint, ready to be extracted."""

    def __init__(self, lake: Path, n: int, kind: Kind = VECTORS, shard: int = SHARD) -> None:
        shape, self.model = kind
        self.run = Run.start(lake, "bench")
        self.samples = samples_of(self.run, n, shape, shard)
        small = samples_of(self.run, 2000, shape, SHARD)
        base = self.base = reference(self.run, None)
        self.recipe = Recipe(model=self.model, training=TRAINING)
        # A canary has two gradients, and a base hands on one of them: with any, ratios would be of more than samples.
        plan = Plan(folds=make_folds.fn(self.run, small, 1, base), canaries=None)
        (self.checkpoint,) = train.fn(self.run, small, plan, [0], self.recipe, base)
        with self.run.draft("folds") as draft:
            with pq.ParquetWriter(draft.path("folds.parquet", n), FOLDS) as writer:
                for path in self.run.paths(self.samples, ".parquet"):
                    ids = pq.read_table(path, columns=["sample_id"])["sample_id"]
                    writer.write_table(
                        pa.table(
                            [ids, pa.array(np.zeros(len(ids), np.int16)), pa.array(np.zeros(len(ids), bool))],
                            schema=FOLDS,
                        )
                    )
            self.plan = plan.model_copy(update={"folds": draft.commit(folds=1, samples=n)})

    def shards(self) -> list[Artefact]:
        return self.samples.shards("samples/train-", "payload", "classes")

    @property
    def rest(self) -> tuple[Plan, list[Artefact], Recipe, Layers, Artefact]:
        """What extract is given beside a run and a shard."""
        return self.plan, [self.checkpoint], self.recipe, Layers(batch_size=256), self.base

    def extract(self, shard: Artefact) -> Artefact:
        return extract.fn(self.run, shard, *self.rest)


def anonymous_peak(pid: str = "self") -> int:
    """Resident bytes that are no file's, now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))


def peak_of(child: subprocess.Popen[str], seconds: float) -> int:
    """The largest ``anonymous_peak`` of a child until it ends, looked at every so many seconds."""
    peak = 0
    while child.poll() is None:
        try:
            peak = max(peak, anonymous_peak(str(child.pid)))
        except (StopIteration, OSError):  # it is just ending
            break
        time.sleep(seconds)
    return peak


def memory_of(n: int) -> None:
    """In a process of its own: extract n samples, print the largest anonymous resident set seen between shards."""
    with tempfile.TemporaryDirectory() as lake:
        stage = Stage(Path(lake), n)
        peak, size = 0, 0
        for shard in stage.shards():
            made = stage.extract(shard)
            peak = max(peak, anonymous_peak())
            for path in stage.run.paths(made):
                size += path.stat().st_size
                path.unlink()  # a million samples need not lie on the disk all at once
        print(peak, size)


def memory(quick: bool) -> tuple[str, str, str, float]:
    few, many = (20_000, 200_000) if quick else (100_000, 1_000_000)
    peaks = []
    for n in (few, many):
        done = subprocess.run(
            [sys.executable, __file__, "--memory-of", str(n)], capture_output=True, text=True, check=True, timeout=3000
        )
        peaks.append([int(word) for word in done.stdout.split()[-2:]])
    (a, _), (b, written) = peaks
    sizes = f"{a / 2**20:.0f} → {b / 2**20:.0f} MiB, {written / 2**30:.1f} GiB written"
    return f"host memory, {few:,} → {many:,} samples ({sizes})", "itself", "0.90 … 1.10", b / a


def writing(lake: Path, repeats: int) -> tuple[str, str, str, float]:
    """The shard writer on ready record batches against one file and write(2)."""
    run = Run.start(lake, "write")
    stage = Stage(lake, SHARD)
    (path,) = run.paths(stage.extract(stage.shards()[0]), ".arrow")
    batches = pa.ipc.open_file(path).read_all().combine_chunks().to_batches(max_chunksize=512) * 16
    size = sum(batch.nbytes for batch in batches)
    raw = np.random.default_rng(0).bytes(size)
    ours, theirs = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        with (lake / "raw").open("wb", buffering=0) as file:
            for at in range(0, size, 8 << 20):
                file.write(raw[at : at + (8 << 20)])
            os.fsync(file.fileno())
        theirs.append(time.perf_counter() - began)
        (lake / "raw").unlink()
        with run.draft("gradients") as draft:
            began = time.perf_counter()
            with ShardWriter(draft, "00000") as writer:
                for batch in batches:
                    writer.write(batch)
            with draft.path("gradients/00000.arrow").open("rb") as file:
                os.fsync(file.fileno())
            ours.append(time.perf_counter() - began)
    return (
        f"shard writing ({size / 2**20:.0f} MiB)",
        "raw write of the same bytes",
        "≥ 0.8",
        median(theirs) / median(ours),
    )


def increment(lake: Path) -> tuple[str, str, str, float]:
    """Extraction of 1 % more samples with a base, over extraction of all."""
    import json

    n, more = 10_000, 100
    stage = Stage(lake, n, IMAGES)
    began = time.perf_counter()
    made = [stage.extract(shard) for shard in stage.shards()]
    whole = time.perf_counter() - began
    stages = [stage.samples, stage.plan.folds, stage.checkpoint, *made]
    recorded = stage.run.lake / "runs" / "bench-1"
    recorded.mkdir()
    for artefact in stages:
        for file in artefact.files:
            (recorded / file.name).parent.mkdir(exist_ok=True)
            os.link(stage.run.path(artefact, file), recorded / file.name)
    entries = [artefact.model_dump(mode="json") for artefact in stages]
    about = {"run_id": "bench-1", "dataset": "bench", "recorded": "2026", "stages": entries}
    (recorded / "run.json").write_text(json.dumps(about))
    later = Stage(lake, n + more, IMAGES)
    later.base = reference(later.run, "bench-1")
    began = time.perf_counter()
    again = [later.extract(shard) for shard in later.shards()]
    cost = time.perf_counter() - began
    assert len(GradientShards(later.run, again)) == n + more
    return "extraction with 1 % new samples (cnn, 10,000 images)", "extraction of all of them", "≤ 0.05", cost / whole


def workers_of(kind: Runners) -> list[Row]:
    """Shards of 12,000 images, some seconds each, on two workers of one thread against one worker of one thread.

    Six while the workers start and import torch, then six more.
    """
    from prefect import flow

    from tasks.core.runner import Runner
    from tasks.pipeline.workers import each, workers

    seconds = {}
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as lake:
            stage = Stage(Path(lake), 12 * 12_000, IMAGES, 12_000)

            @flow(name=f"{kind} {count}")
            def timed(stage: Stage = stage, count: int = count) -> tuple[float, float]:
                shards, began = stage.shards(), time.perf_counter()
                with workers(Runner(kind=kind, workers=count)) as pool:
                    pool.map(extract, stage.run, each(shards[:6]), *stage.rest).result()
                    warm = time.perf_counter()
                    pool.map(extract, stage.run, each(shards[6:]), *stage.rest).result()
                    return warm - began, time.perf_counter() - warm

            seconds[count] = timed(stage, count)
    first, later = (seconds[1][i] / seconds[2][i] for i in range(2))
    return [
        (f"{kind}: 2 workers of 1 thread, their start included", "1 worker of 1 thread", "≥ 1.7", first),
        (f"{kind}: the same once they are started", "1 worker of 1 thread", "≥ 1.7", later),
        (
            f"{kind}: all twelve shards, start included",
            "1 worker of 1 thread",
            "≥ 1.7",
            sum(seconds[1]) / sum(seconds[2]),
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples, no workers")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--workers", action="store_true", help="processes, dask and ray alone")
    arguments = parser.parse_args()
    if arguments.memory_of:
        memory_of(arguments.memory_of)
        return
    rows: list[Row] = []
    if not arguments.workers:
        with tempfile.TemporaryDirectory() as lake:
            rows.append(writing(Path(lake), 3 if arguments.quick else 7))
        with tempfile.TemporaryDirectory() as lake:
            rows.append(increment(Path(lake)))
        rows.append(memory(arguments.quick))
    for kind in [] if arguments.quick else RUNNERS:
        rows += workers_of(kind)
    table = Table("what", "against", "goal", "ratio", title=f"extraction, {os.cpu_count()} processors")
    for what, against, goal, ratio in rows:
        table.add_row(what, against, goal, f"{ratio:.3f}")
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
