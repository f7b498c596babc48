"""Versions as plain Parquet folders, readable by anything that reads Parquet.

    <lake>/versions/<dataset>/v0001/
        data/train-00000.parquet …   every sample that was kept, with all its columns
        removed.parquet        the samples that were not, each with its reason, rank, suspicion and run
        manifest.json          version, parent, run, rows, a SHA-256 for each file

Written aside, fsynced, and renamed to the next free number; the number is tried again when another run took it.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.artefacts import MANIFEST, Artefact, File, Run, partial_folder, rename_folder, sha256_of, write_durably
from tasks.queries import query
from tasks.samples import sample_paths, table_of
from tasks.stores import Store


class ParquetStore(Store):
    """Immutable Parquet versions with a manifest."""

    kind: Literal["parquet"] = "parquet"

    def publish(self, run: Run, dataset: str, samples: Artefact, flags: Artefact) -> Artefact:
        """Write the next version of ``dataset``; the newest version itself when it says just the same."""
        home = run.lake / "versions" / dataset
        home.mkdir(parents=True, exist_ok=True)
        same = _same(run, home, samples, flags)
        if same is not None:
            return same
        table = pq.read_table(run.path(flags))
        removed = table.filter(pc.field("flag"))["sample_id"]
        with partial_folder(home) as aside:
            files = _write_data(run, samples, removed, aside)
            files.append(_write_removed(run, samples, table, aside))
            while True:
                # Another run may have published meanwhile, perhaps just this.
                same = _same(run, home, samples, flags)
                if same is not None:
                    return same
                version, parent = _next(home)
                manifest = {
                    "version": version,
                    "dataset": dataset,
                    "parent": parent,
                    "run_id": run.run_id,
                    "published": datetime.now(UTC).isoformat(timespec="seconds"),
                    "rows": sum(file.rows for file in files[:-1]),
                    "removed": len(removed),
                    "samples": samples.digest,
                    "flags": flags.digest,
                    "payload": samples.facts["payload"],
                    "classes": samples.facts["classes"],
                    "files": [file.model_dump() for file in files],
                }
                write_durably(aside / MANIFEST, json.dumps(manifest, indent=1))
                if rename_folder(aside, home / version):
                    break
        return _described_version(run, home / version, manifest)


def _same(run: Run, home: Path, samples: Artefact, flags: Artefact) -> Artefact | None:
    """The newest version, if it was made of the same samples and flags; a damaged one cannot be said to be the same."""
    newest = _next(home)[1]
    if newest is None:
        return None
    try:
        manifest = json.loads((home / newest / MANIFEST).read_text(encoding="utf-8"))
        if (manifest["samples"], manifest["flags"]) != (samples.digest, flags.digest):
            return None
        version = _described_version(run, home / newest, manifest)
    except (OSError, ValueError, KeyError):
        return None
    return version if run.intact(version) else None


def _described_version(run: Run, folder: Path, manifest: dict[str, Any]) -> Artefact:
    return Artefact(
        stage="version",
        folder=str(folder.relative_to(run.lake)),
        files=tuple(File.model_validate(file) for file in manifest["files"]),
        facts={name: manifest[name] for name in ("version", "dataset", "parent", "rows", "removed")},
        digest=sha256_of(folder / MANIFEST),
        made_by=manifest["run_id"],
    )


def _write_data(run: Run, samples: Artefact, removed: pa.ChunkedArray, aside: Path) -> list[File]:
    (aside / "data").mkdir()
    gone = removed.combine_chunks()
    files = []
    for path in sample_paths(run, samples):
        name = f"data/{path.name}"
        rows = 0
        with (
            pq.ParquetFile(path) as source,
            pq.ParquetWriter(aside / name, source.schema_arrow, compression="zstd") as sink,
        ):
            for batch in source.iter_batches(batch_size=4096):
                kept = batch.filter(pc.invert(pc.is_in(batch["sample_id"], value_set=gone)))
                sink.write_batch(kept)
                rows += kept.num_rows
        files.append(_described(aside, name, rows))
    return files


def _write_removed(run: Run, samples: Artefact, flags: pa.Table, aside: Path) -> File:
    thin = ["sample_id", "source", "row", "source_id", "label", "clean_label"]
    with duckdb.connect() as db:
        db.register("flags", flags)
        db.register("samples", table_of(run, samples, thin))
        removed = db.sql(query("removed"), params={"run_id": run.run_id}).to_arrow_table()
    pq.write_table(removed, aside / "removed.parquet", compression="zstd")
    return _described(aside, "removed.parquet", removed.num_rows)


def _described(aside: Path, name: str, rows: int) -> File:
    path = aside / name
    return File(name=name, rows=rows, size=path.stat().st_size, sha256=sha256_of(path))


def _next(home: Path) -> tuple[str, str | None]:
    """The next free version and the newest one there is."""
    numbers = [int(path.name[1:]) for path in home.iterdir() if path.name.startswith("v") and path.name[1:].isdigit()]
    newest = max(numbers, default=0)
    return f"v{newest + 1:04d}", f"v{newest:04d}" if newest else None
