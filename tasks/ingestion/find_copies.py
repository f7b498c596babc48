"""find_copies: samples → which of them are copies of one another, of whom a test knows too much, what is left out."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.dataset.payload import payload_of
from tasks.dataset.samples import sample_paths
from tasks.dataset.targets import target_of
from tasks.dataset.targets.number import Number
from tasks.ingestion.copies import NEAR_CONTENTS, Copies
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@step("find copies")
def find_copies(run: Run, samples: Artefact, copies: Copies, features: Artefact | None = None) -> Artefact:
    """Compare all samples' inputs, and tell what follows.

    Leaves ``near_copies.parquet`` beside ingest's ``copies.parquet`` of equal ones; ``left_out.parquet``, the
    training samples that are left out for their copies; ``leaks.parquet``, those of the others with a copy on the other
    side of the border between training and what is held out; ``near_contents.parquet``, what shares a fold.

    Args:
        run: whose lake.
        samples: as ingested, of every split.
        copies: which are looked for, and what becomes of them.
        features: the same samples as a frozen encoder sees them, where there is one.

    Returns:
        Facts: remove, near (pairs, and samples in them), contradictions (samples with a near copy under another
        label), leaks (held-out samples with a copy in training, by kind), left_out (training samples, by reason),
        emptied (labels of which no training sample is left, if any), skipped (what could not be compared, by reason),
        alike (pictures, and of how many, where most resemble one another: near copies are then told and no more),
        tolerance (by which numbers may differ and be one label, of a target number).
    """
    import pyarrow.parquet as pq

    from tasks.ingestion.near_copies import Contents, NearContents, copy_tables, near_contents

    files = sample_paths(run, samples)
    found = NearContents(NEAR_CONTENTS.empty_table(), {})
    payload = payload_of(samples)
    # The rows of a table are copies or they are not: nothing is looked for that is near.
    if copies.near and (features or payload.tokens or payload.is_image):
        contents = Contents(files, payload)
        found = near_contents(contents, _vectors(run, features, contents.names) if features else None)
    numbers = isinstance(target_of(samples), Number)
    exact, scratch = "repeats" not in samples.facts, run.lake / "cache"
    with copy_tables(files, found.pairs, scratch, exact=exact, numbers=numbers) as tables:
        near = tables.near("alike" if found.alike else "near")
        contradictions, tolerance = tables.contradicted(near), tables.tolerance
        if found.alike:
            tables.forget_near()
        left_out = tables.leave_out(copies.remove)
        leaks, joined, emptied = tables.leaks(), tables.near_in_training(), tables.emptied()
    with run.draft("copies") as draft:
        written = {"near_copies": near, "leaks": leaks, "left_out": left_out, "near_contents": joined}
        for name, table in written.items():
            pq.write_table(table, draft.path(f"{name}.parquet", table.num_rows), compression="zstd")
        facts = _facts(near, leaks, left_out, found.pairs) | {"skipped": found.skipped}
        facts["contradictions"] = contradictions
        rare = {
            "emptied": emptied,
            "tolerance": tolerance,
            "alike": found.alike and {"pictures": found.alike, "of": found.contents},
        }
        return draft.commit(remove=copies.remove, **facts, **{name: fact for name, fact in rare.items() if fact})


def _vectors(run: Run, features: Artefact, contents: pa.Array) -> np.ndarray:
    """What the encoder made of each content, n × d."""
    import numpy as np

    from tasks.dataset.feature_store import FeatureStore

    payload = payload_of(features)
    vectors = np.empty((len(contents), *payload.shape), np.float32)
    FeatureStore(run.lake, payload.encoder).fill(contents.to_pylist(), vectors)
    return vectors


def _facts(near: pa.Table, leaks: pa.Table, left_out: pa.Table, pairs: pa.Table) -> dict[str, Any]:
    import pyarrow.compute as pc

    def count(table: pa.Table, column: str) -> dict[str, int]:
        counts = {row["values"]: row["counts"] for row in pc.value_counts(table[column]).to_pylist()}
        return {name: counts[name] for name in sorted(counts)}

    return {
        "near": {"pairs": pairs.num_rows, "samples": len(pc.unique(near["sample_id"]))},
        "leaks": count(leaks.filter(pc.not_equal(leaks["split"], "train")), "kind"),
        "left_out": count(left_out, "reason"),
    }
