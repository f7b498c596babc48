"""What many classes cost: bytes of a shard, CPU seconds and memory of the default detectors.

    OMP_NUM_THREADS=1 python tests/benchmarks/classes.py [--rows 10000] [--classes 1000 10000] [--lake FOLDER]

Made-up vectors of 32 numbers around a centre for each class, a tenth with another class's label; an MLP of one hidden
layer of 32, two folds, one epoch. Scoring is a process of its own, with all libraries imported beforehand: its CPU
seconds (threads included), detector by detector, and the largest anonymous memory above that of its imports.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from extraction import anonymous_peak, peak_of

from tasks.dataset.samples import observed_shards, split_of
from tasks.gradients.extract import extract
from tasks.gradients.kinds.head import Head
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.parquet import Parquet
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run
from tasks.pipeline.recorded_run import reference
from tasks.planning.canaries import Canaries
from tasks.planning.make_folds import make_folds
from tasks.planning.neighbours import Neighbours
from tasks.planning.plan import Plan
from tasks.planning.plant import plant
from tasks.planning.vote import vote
from tasks.scoring.canary_evidence import canaries_of
from tasks.scoring.crossfit import CrossFit
from tasks.scoring.detectors import DetectorChoice
from tasks.scoring.evidence import Evidence
from tasks.training.models.mlp import Mlp
from tasks.training.recipe import Recipe, Training
from tasks.training.train import train

DETECTORS = ("fusion", "l2", "iforest", "self_confidence")
COLUMNS, FOLDS = 32, 2


def table(path: Path, rows: int, classes: int) -> Path:
    """Every class at least five times, as far as there are rows."""
    rng = np.random.default_rng(0)
    truth = np.arange(rows) % classes
    x = rng.normal(size=(classes, COLUMNS)).astype(np.float32)[truth] + 0.5 * rng.normal(size=(rows, COLUMNS))
    label = np.where(rng.random(rows) < 0.1, rng.integers(0, classes, rows), truth)
    columns = {f"f{i}": x[:, i].astype(np.float32) for i in range(COLUMNS)}
    pq.write_table(pa.table(columns | {"label": [f"c{i:05d}" for i in label]}), path)
    return path


def cross_fit(run: Run, path: Path) -> tuple[CrossFit, float]:
    """(all that scoring is given, bytes a sample of its shards)."""
    recipe = Recipe(model=Mlp(hidden=[32]), training=Training(epochs=1, batch_size=256, device="cpu"))
    samples = ingest.fn(run, Parquet(path=path, label="label"), Ingestion())
    known, base = split_of(samples, "train"), reference(run, None)
    folds = make_folds.fn(run, known, FOLDS, base)
    votes = vote.fn(run, known, Neighbours(), "cpu", folds)
    plan = Plan(folds=folds, canaries=plant.fn(run, known, folds, votes, Canaries(), base))
    networks = [one for i in range(FOLDS) for one in train.fn(run, known, plan, [i], recipe, base)]
    given = (plan, networks, recipe, Head(), base)
    made = [extract.fn(run, shard, *given) for shard in observed_shards(samples)]
    own = [file for shard in made for file in shard.files if file.name.startswith("gradients/train")]
    arrow = [file for file in own if file.name.endswith(".arrow")]
    size = sum(file.size for file in arrow) / sum(file.rows or 0 for file in arrow)
    return CrossFit(samples=known, plan=plan, votes=votes, checkpoints=networks, gradients=made), size


def one(lake: Path) -> None:
    """Score what lies in a lake, detector by detector, and print what each took."""
    import sklearn.tree  # noqa: F401
    import torch  # noqa: F401

    told = json.loads((lake / "crossfit.json").read_text())
    run, crossfit = Run(lake=lake.resolve(), run_id=told["run"]), CrossFit.model_validate(told["crossfit"])
    print("ready", anonymous_peak(), flush=True)
    evidence, took = Evidence(run, crossfit), {}
    for kind in DETECTORS:
        detector, began = DetectorChoice(kind=kind).component, time.process_time()
        scores = [evidence.score(detector)]
        if "canaries" in detector.sees:
            planted = canaries_of(evidence)
            scores.append(planted.score(detector)[planted.canary_ranks])
        took[kind] = time.process_time() - began
        np.savez(lake / f"{kind}.npz", *scores)
    print(json.dumps(took), flush=True)


def measured(lake: Path) -> tuple[dict[str, float], float]:
    """(CPU seconds of each detector, MiB above the imports)."""
    command = [sys.executable, __file__, "--one", str(lake)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        before = int(child.stdout.readline().split()[1])
        peak = peak_of(child, 0.01)
        return json.loads(child.stdout.read()), (peak - before) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--classes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--lake", type=Path, help="where to put lakes, which stay; a temporary folder otherwise")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one)
        return
    print(f"| classes × rows | kB a sample | CPU s: {', '.join(DETECTORS)} | all | MiB |\n|---|--:|---|--:|--:|")
    for classes in options.classes:
        with tempfile.TemporaryDirectory() as folder:
            lake = (options.lake or Path(folder)) / f"classes-{classes}"
            if not (lake / "crossfit.json").exists():
                run = Run.start(lake, "classes")
                crossfit, size = cross_fit(run, table(lake / "table.parquet", options.rows, classes))
                told = {"run": run.run_id, "crossfit": crossfit.model_dump(mode="json"), "size": size}
                (lake / "crossfit.json").write_text(json.dumps(told))
            size = json.loads((lake / "crossfit.json").read_text())["size"]
            took, memory = measured(lake)
        each = ", ".join(f"{seconds:.1f}" for seconds in took.values())
        total = sum(took.values())
        print(
            f"| {classes:,} × {options.rows:,} | {size / 1000:.2f} | {each} | {total:.1f} | {memory:,.0f} |", flush=True
        )


if __name__ == "__main__":
    main()
