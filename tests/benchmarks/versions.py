"""What a version costs that leaves out a few rows of a large dataset: bytes added, and seconds.

    python tests/benchmarks/versions.py [--rows 16384] [--side 256] [--share 0.02] [--folder FOLDER]

An archive of images of random bytes, a gigabyte unless told otherwise, is ingested and published as it came, then
without the most suspect share of it. Bytes are those of the store's files, a file of several names counted once.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.dataset.samples import table_of
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers import ReaderChoice
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run
from tasks.pipeline.schemas import FLAGS, SAMPLES
from tasks.pipeline.schemas import scores as scores_schema
from tasks.versions.contents import decide
from tasks.versions.history import History
from tasks.versions.object_store import Objects
from tasks.versions.publication import Publication


def room(folder: Path) -> int:
    """Bytes below a folder."""
    seen = {path.stat().st_ino: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    return sum(seen.values())


def decisions_of(samples: pa.Table, share: float) -> pa.Table:
    """A share of the training samples, removed; every one with a reason of usual length."""
    train = samples.filter(pc.equal(samples["split"], "train"))
    names = train["sample_id"].to_pylist()
    blank = dict.fromkeys(FLAGS.names) | {"flag": True, "detector": "fusion", "marked_by": ["fusion", "l2"]}
    why = "given 3 (p = 0.012), held-out model says 7 (p = 0.951); wrong with p = 0.871, 7 with p = 0.840; rank {}"
    rows = [
        blank | {"sample_id": name, "rank": rank, "suspicion": 1 / rank, "reason": why.format(rank)}
        for rank, name in enumerate(names[: round(share * samples.num_rows)], 1)
    ]
    generator = np.random.default_rng(0)
    detectors = ["fusion", "l2", "iforest", "self_confidence"]
    scored = pa.table([names, *(generator.normal(size=len(names)) for _ in detectors)], schema=scores_schema(detectors))
    return decide(pa.Table.from_pylist(rows, FLAGS), samples, scored, "remove", "fusion")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16_384)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--share", type=float, default=0.02)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        draw = np.random.default_rng(0)
        x = draw.integers(0, 256, (options.rows, options.side, options.side), dtype=np.uint8)
        np.savez(folder / "images.npz", x=x, y=draw.integers(0, 10, options.rows))
        del x
        run = Run.start(folder / "lake", "large")
        reader = ReaderChoice.model_validate({"kind": "npz", "path": str(folder / "images.npz")}).component
        samples = ingest.fn(run, reader, Ingestion())
        (folder / "images.npz").unlink()
        history = History(Objects(run.lake / "versions"), "large")
        facts = {"by": "run", "run_id": run.run_id, "code": "", "model": None, "config": None, "source": None}
        facts |= {"flags": None, "metrics": None}
        publication = Publication(run, history, samples)
        start = time.perf_counter()
        came = publication.commit_ingested(facts)
        first, before = time.perf_counter() - start, room(history.objects.folder)
        decisions = decisions_of(table_of(run, samples, SAMPLES.names), options.share)
        start = time.perf_counter()
        made = publication.commit_cleaned(came, decisions, facts)
        second, added = time.perf_counter() - start, room(history.objects.folder) - before
        print(f"{came.rows:,} rows, {before / 1e6:,.1f} MB, published in {first:.2f} s")
        print(f"without {made.removed:,} of them: {added:,} bytes more ({added / before:.4%}), in {second:.2f} s")


if __name__ == "__main__":
    main()
