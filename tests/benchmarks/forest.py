"""The lazy isolation forest beside PyOD's on the built matrix, from shards on disk to scores. A markdown table.

    python tests/benchmarks/forest.py [--rounds 3] [--lake FOLDER] [--scale ten-million]

Made-up shards of a softmax classifier: residuals of k classes and features after a ReLU, with a bias. Every measurement
is a process of its own, and they take turns: ours on one thread, ours on two, PyOD's. Times start after the imports and
are medians. Memory is what the process gained after them: the largest resident set, files' pages apart (seen every 5
ms from outside), and beside it the largest with them (the kernel's own high-water mark). PyOD's matrix of 50,000 ×
51,300 takes 10 GB; it is left out where less than 14 GB are free.

With --scale ten-million, instead of PyOD: L2 and the forest on two threads, at one and at ten million samples of
10 + 256 values (10.6 GB, removed afterwards). The slope is the time at ten million over ten times that at one million;
files are read through before each run, so that both sizes come from the system's cache where it can hold them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from extraction import anonymous_peak, peak_of
from timing import machine

from tasks.gradients.shards import GradientShards, ShardMetadata, ShardWriter
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.schemas import gradient_shard
from tasks.scoring.forest import forest_scores

ABOUT = ShardMetadata(
    gradient={"kind": "head"}, loss=("cross_entropy", 0.0), checkpoints=("a",), epochs=(1,), layers=(), joined="sum"
)
ROWS = 5000
LETTERS = np.frombuffer(b"0123456789abcdef", np.uint8)
Found = dict[str, float]


# ---- shards ----------------------------------------------------------------------------------------------------------


def batch_of(generator: np.random.Generator, n: int, k: int, h1: int, schema: pa.Schema) -> pa.RecordBatch:
    """Gradients of n samples."""
    residual = np.exp(3 * generator.standard_normal((n, k), np.float32))
    residual /= residual.sum(1, keepdims=True)
    residual[np.arange(n), residual.argmax(1)] -= 1
    features = np.maximum(generator.standard_normal((n, h1), np.float32), 0)
    features[:, -1] = 1
    text = LETTERS[generator.integers(0, 16, (n, 32), np.uint8)]
    columns: dict[str, Any] = {
        "sample_id": pa.StringArray.from_buffers(
            n, pa.py_buffer(np.arange(0, 32 * n + 1, 32, dtype=np.int32)), pa.py_buffer(text)
        ),
        "fold": pa.array(generator.integers(0, 5, n).astype(np.int16)),
        "predicted": pa.array(["a"] * n),
        "l1": pa.array(np.abs(residual).sum(1) * np.abs(features).sum(1)),
        "l2": pa.array(np.linalg.norm(residual, axis=1) * np.linalg.norm(features, axis=1)),
        "residual": pa.FixedSizeListArray.from_arrays(pa.array(residual.ravel()), k),
        "features": pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), h1),
    } | {name: pa.array(np.full(n, 0.5, np.float32)) for name in ("loss", "p_label", "p_predicted")}
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def shards_of(lake: Path, n: int, k: int, h1: int) -> None:
    """n samples on disk, in shards of up to a million, and the list of them in shards.json."""
    run = Run.start(lake, "forest")
    schema = ABOUT.on(gradient_shard({"residual": k, "features": h1}))
    generator = np.random.default_rng(n + k)
    made: list[Artefact] = []
    for first in range(0, n, 1_000_000):
        with run.draft("gradients") as draft:
            with ShardWriter(draft, f"{len(made):05d}") as writer:
                for at in range(first, min(first + 1_000_000, n), ROWS):
                    writer.write(batch_of(generator, min(ROWS, n - at), k, h1, schema))
            made.append(draft.commit())
    (lake / "shards.json").write_text(json.dumps([artefact.model_dump(mode="json") for artefact in made]))


# ---- one measurement, in a process of its own ------------------------------------------------------------------------


def one(what: str, lake: Path, threads: int, some: int) -> None:
    """Score the shards (the first ``some`` of them), print seconds and bytes; the scores into a file."""
    import pyod.models.iforest
    import sklearn.tree  # noqa: F401  so that neither pays for the other's imports

    torch.set_num_threads(threads)
    artefacts = [Artefact.model_validate(entry) for entry in json.loads((lake / "shards.json").read_text())][:some]
    run = Run(lake=lake.resolve(), run_id="bench")
    before = anonymous_peak()
    Path("/proc/self/clear_refs").write_text("5")  # the kernel's high-water mark starts anew
    resident = _status("VmHWM")
    print("ready", flush=True)
    began, worked = time.perf_counter(), time.process_time()
    gradients = GradientShards(run, artefacts)
    if what == "pyod":
        forest = pyod.models.iforest.IForest(random_state=0).fit(gradients.dense(1 << 40))
        scores = forest.decision_scores_
        assert scores is not None
    else:
        scores = forest_scores(gradients, None, trees=100, max_samples=256, seed=0, on="raw")
        if what == "ours and l2":
            ids, l2 = gradients.ids(), gradients.scalar("l2").astype(np.float64)
            assert len(ids) == len(l2) == len(scores)
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    np.save(lake / f"{what}-{threads}.npy", scores)
    gained = _status("VmHWM") - resident
    print(json.dumps({"seconds": seconds, "cpu": cpu, "before": before, "resident": gained}), flush=True)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def measured(what: str, lake: Path, threads: int, some: int = 1 << 30) -> Found:
    """Seconds and bytes of one process; its anonymous memory is watched from here."""
    command = [sys.executable, __file__, "--one", what, "--lake", str(lake), "--threads", str(threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen([*command, "--some", str(some)], stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        child.stdout.readline()
        peak = peak_of(child, 0.005)
        told = json.loads(child.stdout.read())
    return told | {"anonymous": peak - told["before"]}


def _available() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def _read_through(lake: Path, some: int) -> None:
    entries = json.loads((lake / "shards.json").read_text())[:some]
    for path in (path for entry in entries for path in (lake / entry["folder"]).rglob("*.arrow")):
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


# ---- the table -------------------------------------------------------------------------------------------------------


def beside_pyod(lake: Path, n: int, k: int, h1: int, rounds: int) -> list[str]:
    """Rows of one width."""
    shards_of(lake, n, k, h1)
    candidates = [("ours", 1), ("ours", 2), ("pyod", 1)]
    size = n * k * h1 * 4
    if size * 1.3 > _available():
        candidates.pop()
    found: dict[tuple[str, int], list[Found]] = {candidate: [] for candidate in candidates}
    for _ in range(rounds):
        for what, threads in candidates:
            found[what, threads].append(measured(what, lake, threads))
    middle = {c: {key: median(one[key] for one in taken) for key in taken[0]} for c, taken in found.items()}
    same = ""
    if ("pyod", 1) in found:
        scores = [np.load(lake / f"{what}-{threads}.npy") for what, threads in candidates]
        same = f"largest difference {max(np.abs(s - scores[-1]).max() for s in scores[:-1]):.0e}"
    rows = []
    for (what, threads), m in middle.items():
        peer = middle.get(("pyod", 1))
        times = f"{peer['seconds'] / m['seconds']:.1f}" if peer else "?"
        part = f"{m['anonymous'] / peer['anonymous']:.3f}" if peer else "?"
        runs = " ".join(f"{one['seconds']:.2f}" for one in found[what, threads])
        memory = f"{m['anonymous'] / 2**20:,.0f} | {m['resident'] / 2**20:,.0f}"
        cells = [f"{n:,} × {k * h1:,}", f"{what}, {threads}", f"{m['seconds']:.2f} ({runs})", f"{m['cpu']:.2f}", times]
        rows.append(f"| {' | '.join([*cells, memory, part, same])} |")
    return rows


def ten_million(lake: Path, rounds: int, millions: int = 10) -> list[str]:
    """Rows of the run at scale; the first shard of a million is the smaller one."""
    shards_of(lake, millions * 1_000_000, 10, 256)
    rows, middle = [], {}
    found: dict[int, list[Found]] = {1: [], millions: []}
    for _ in range(rounds):
        for some, taken in found.items():
            _read_through(lake, some)
            taken.append(measured("ours and l2", lake, 2, some))
    for some, taken in found.items():
        m = middle[some] = {key: median(one[key] for one in taken) for key in taken[0]}
        runs = " ".join(f"{one['seconds']:.1f}" for one in taken)
        slope = m["seconds"] / some / middle[1]["seconds"]
        memory = f"{m['anonymous'] / 2**20:,.0f} | {m['resident'] / 2**20:,.0f}"
        cells = [f"{some},000,000 × 2,560", "ids, L2, ours, 2", f"{m['seconds']:.1f} ({runs})", f"{m['cpu']:.1f}"]
        rows.append(f"| {' | '.join([*cells, f'{slope:.2f}', memory])} | | |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is told")
    parser.add_argument("--lake", type=Path, help="where to put shards; a temporary folder otherwise")
    parser.add_argument("--scale", choices=["ten-million"], help="the run at scale instead")
    for hidden, kind in (("--one", str), ("--threads", int), ("--some", int)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one, options.lake, options.threads, options.some)
        return
    for key, value in machine(torch.device("cpu"), 2).items():
        print(f"{key}: {value}")
    print()
    times = "slope" if options.scale else "PyOD / it"
    columns = ["samples × values", "what, threads", "s, median (each)", "CPU s", times, "MiB anonymous", "MiB resident"]
    print(f"| {' | '.join([*columns, '/ PyOD', 'scores'])} |")
    print("|---|---|--:|--:|--:|--:|--:|--:|---|")
    cases = [None] if options.scale else [(50_000, 10, 513), (50_000, 100, 513)]
    for case in cases:
        with tempfile.TemporaryDirectory(dir=options.lake) as lake:
            rows = (
                ten_million(Path(lake), options.rounds)
                if case is None
                else beside_pyod(Path(lake), *case, options.rounds)
            )
        print("\n".join(rows), flush=True)


if __name__ == "__main__":
    main()
