"""ingest: a reader's rows → typed, validated samples with content-hashed ids, and the rows that cannot be samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tasks.artefacts import Artefact, Run, fsync
from tasks.errors import BadInput, TooManyRejects
from tasks.parts import Part
from tasks.readers import Chunk, Noise, Reader, Reject
from tasks.schemas import REJECTS, SAMPLES, SPLITS
from tasks.step import step

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from tasks.samples import Payload

_SPLIT_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test"} | dict.fromkeys(
    ("validation", "valid", "val", "dev"), "validation"
)


class Ingestion(Part):
    """How samples are checked and laid out."""

    max_rejects: float = Field(0.05, ge=0, le=1, description="Fail the run when more than this share is rejected.")
    shard_rows: int = Field(8192, ge=16, description="Samples a file; one extraction task works on one file.")


@step("ingest {reader.kind}")
def ingest(run: Run, reader: Reader, options: Ingestion) -> Artefact:
    """Read a source into ``samples/*.parquet`` and ``rejects.parquet``.

    Two streaming passes: the first validates, hashes and spools; the second, knowing all labels and all hashes, names
    duplicates, drops classes nobody can learn, plants noise if asked, and writes the final shards.

    Returns:
        Facts: payload, classes (given labels, sorted), splits, rows, rejects by reason, duplicates, planted flips.
    """
    payload, chunks = reader.open()
    with run.draft("samples") as draft:
        spool = draft.folder / "spool.parquet"
        rejects, read = _spool(_limited(chunks, reader.limit), payload, reader.test_share, spool)
        survey = _survey(spool, read, str(reader.kind))
        rejects += survey.rejects
        _check_share(run, rejects, read, options.max_rejects)
        facts = _write_shards(spool, survey, reader.noise, draft.path, options.shard_rows)
        _write_rejects(rejects, draft.path("rejects.parquet", len(rejects)))
        spool.unlink()
        return draft.commit(
            payload=payload.model_dump(mode="json"),
            rows_read=read,
            rejects=_by_reason(rejects),
            duplicates=survey.duplicates,
            leaking_duplicates=survey.leaking,
            **facts,
        )


# ---- first pass: validate, hash, spool ---------------------------------------------------------------------------


def _limited(chunks: Iterator[Chunk], limit: int | None) -> Iterator[Chunk]:
    """At most ``limit`` rows of the training source; a separate test source is read whole."""
    taken = 0
    for chunk in chunks:
        if limit is None or chunk.split in ("test", "validation"):
            yield chunk
            continue
        room = limit - taken
        if room <= 0:
            continue
        taken += min(len(chunk.rows), room)
        yield chunk if len(chunk.rows) <= room else _head(chunk, room)


def _head(chunk: Chunk, rows: int) -> Chunk:
    import pyarrow as pa

    def cut(array: Any) -> Any:
        return array.slice(0, rows) if isinstance(array, pa.Array) else array

    last = chunk.rows[rows - 1].as_py()
    fields = {name: cut(getattr(chunk, name)) for name in ("rows", "label", "split", "clean_label", "group", "source_id")}
    payload = {name: cut(array) for name, array in chunk.payload.items()}
    rejects = [reject for reject in chunk.rejects if reject.row is not None and reject.row <= last]
    return Chunk(source=chunk.source, payload=payload, rejects=rejects, **fields)


def _spool(
    chunks: Iterator[Chunk], payload: Payload, test_share: float, spool: Path
) -> tuple[list[dict[str, Any]], int]:
    """Write every usable row, hashed, to one file; return the others and the number of rows read."""
    import pyarrow.parquet as pq

    rejects: list[dict[str, Any]] = []
    read, writer = 0, None
    try:
        for chunk in chunks:
            read += len(chunk.rows) + len(chunk.rejects)
            batch, bad = _hashed(chunk, payload, test_share)
            rejects += [{"source": chunk.source} | vars(reject) for reject in [*chunk.rejects, *bad]]
            writer = writer or pq.ParquetWriter(spool, batch.schema, compression="lz4")
            writer.write_batch(batch)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise BadInput(where="the source", expected="rows", got="none", do="Check the path and the format.")
    return rejects, read


def _hashed(chunk: Chunk, payload: Payload, test_share: float) -> tuple[pa.RecordBatch, list[Reject]]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    n = len(chunk.rows)
    hashes = content_hashes([chunk.payload[name] for name in payload.columns])
    split, unknown = _splits(chunk, hashes, test_share)
    missing = chunk.label.is_null().to_numpy(zero_copy_only=False)
    keep = pa.array(~(missing | unknown))
    rows = chunk.rows.to_numpy()
    bad = [Reject(int(rows[i]), "missing label", "the label is empty") for i in np.flatnonzero(missing)]
    bad += [
        Reject(int(rows[i]), "unknown split", f"{chunk.split[int(i)]} is none of {', '.join(SPLITS)}")  # type: ignore[index]
        for i in np.flatnonzero(unknown & ~missing)
    ]

    def text(array: pa.Array | None) -> pa.Array:
        return pa.nulls(n, pa.string()) if array is None else array

    ours = {
        "sample_id": pa.array(hashes, pa.string()),
        "source": pa.array([chunk.source] * n, pa.string()),
        "row": chunk.rows.cast(pa.int64()),
        "split": pa.array(split, pa.string()),
        "label": pc.fill_null(chunk.label, ""),
        "clean_label": text(chunk.clean_label),
        "group": text(chunk.group),
        "source_id": text(chunk.source_id),
    }
    fields = [*SAMPLES, *(pa.field(name, array.type) for name, array in chunk.payload.items())]
    batch = pa.RecordBatch.from_arrays([*ours.values(), *chunk.payload.values()], schema=pa.schema(fields))
    return batch.filter(keep), bad


def content_hashes(columns: list[pa.Array]) -> list[str]:
    """A sample's identity: BLAKE2b-128 of its inputs' bytes, in hex.

    Labels, row numbers and names are no part of it: a relabelled or moved sample keeps its id. Plain numbers are hashed
    as little-endian float64, so that a CSV and a Parquet file of the same table agree; lists in their own type.
    """
    import numpy as np
    import pyarrow as pa

    from tasks.samples import column_values

    if len(columns) == 1 and pa.types.is_binary(columns[0].type):
        return [hashlib.blake2b(data, digest_size=16).hexdigest() for data in columns[0].to_pylist()]
    n = len(columns[0])
    parts = []
    for column in columns:
        values = column_values(column)
        if not pa.types.is_fixed_size_list(column.type):
            values = values.astype("<f8") + 0.0  # −0.0 and 0.0 are one number
        parts.append(np.ascontiguousarray(values).view(np.uint8).reshape(n, -1))
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    rows = memoryview(np.ascontiguousarray(flat)).cast("B") if flat.size else memoryview(b"")
    width = flat.shape[1]
    return [hashlib.blake2b(rows[i * width : (i + 1) * width], digest_size=16).hexdigest() for i in range(n)]


def _splits(chunk: Chunk, hashes: list[str], test_share: float) -> tuple[list[str], np.ndarray]:
    """The split of each row, and which rows name one that does not exist."""
    import numpy as np

    n = len(hashes)
    if isinstance(chunk.split, str):
        return [chunk.split] * n, np.zeros(n, bool)
    if chunk.split is None:
        # By content: copies of one sample land together, and new rows move no old ones.
        return ["test" if int(h[:8], 16) < test_share * 2**32 else "train" for h in hashes], np.zeros(n, bool)
    named = [None if name is None else _SPLIT_NAMES.get(name.lower()) for name in chunk.split.to_pylist()]
    return [name or "" for name in named], np.array([name is None for name in named], bool)


# ---- between the passes: what only the whole dataset can tell ----------------------------------------------------


class _Survey:
    """Labels, duplicates and rejects of the whole spool."""

    def __init__(self) -> None:
        self.classes: list[str] = []
        self.duplicates = 0
        self.leaking = 0
        self.copies: dict[int, int] = {}
        """Position in the spool → which copy of its content it is (1, 2 …); originals are not listed."""
        self.dropped: set[int] = set()
        self.rejects: list[dict[str, Any]] = []


def _survey(spool: Path, read: int, where: str) -> _Survey:
    """Ask the spool's thin columns, in SQL, out of memory's way.

    Raises:
        BadInput: no rows, or fewer than two classes to tell apart.
    """
    import duckdb

    survey = _Survey()
    with duckdb.connect() as db:
        db.execute(
            """CREATE VIEW spool AS SELECT file_row_number AS place, sample_id, source, "row", split, label
               FROM read_parquet($1, file_row_number = true)""".replace("$1", _literal(spool))
        )
        counts = db.execute(
            "SELECT label, count(*) FILTER (split = 'train'), count(*) FROM spool GROUP BY label"
        ).fetchall()
        unlearnable = {
            label: "class seen once" if total == 1 else "class without training samples" if train == 0 else "class seen once"
            for label, train, total in counts
            if total == 1 or train < 2
        }
        survey.classes = sorted((label for label, *_ in counts if label not in unlearnable), key=_class_order)
        for at, source, row, label in db.execute(
            'SELECT place, source, "row", label FROM spool WHERE list_contains($1, label) ORDER BY place', [list(unlearnable)]
        ).fetchall():
            survey.dropped.add(at)
            detail = f"class {label!r} has too few training samples to be learned and checked"
            survey.rejects.append({"source": source, "row": row, "reason": unlearnable[label], "detail": detail})
        # Copies are numbered by what they say, not by where they stand, so that row order names nothing.
        copies = db.execute(
            """SELECT place, row_number() OVER (PARTITION BY sample_id ORDER BY split DESC, label, source, "row") - 1 AS nth
               FROM spool QUALIFY nth > 0"""
        ).fetchall()
        survey.copies = dict(copies)
        survey.duplicates = len(copies)
        leaking = db.execute(
            """SELECT count(*) FROM (FROM spool SELECT sample_id GROUP BY sample_id
               HAVING count(*) FILTER (split = 'train') > 0 AND count(*) FILTER (split <> 'train') > 0)"""
        ).fetchone()
        survey.leaking = leaking[0] if leaking else 0
    if len(survey.classes) < 2:
        raise BadInput(
            where=where,
            expected="at least two classes with two training samples each",
            got=f"{len(survey.classes)} ({', '.join(survey.classes) or 'no usable label'}) in {read:,} rows",
            do="Check the label column and the split column.",
        )
    return survey


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _class_order(label: str) -> tuple[int, float, str]:
    """Numbers in their own order before text in its."""
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)


def _check_share(run: Run, rejects: list[dict[str, Any]], read: int, allowed: float) -> None:
    if len(rejects) <= allowed * read:
        return
    kept = run.lake / "rejected" / f"{run.run_id}.parquet"
    kept.parent.mkdir(exist_ok=True)
    _write_rejects(rejects, kept)
    fsync(kept)
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in _by_reason(rejects).items())
    raise TooManyRejects(
        where=str(kept),
        expected=f"at most {allowed:.1%} of {read:,} rows to be rejected",
        got=f"{len(rejects):,} ({len(rejects) / max(read, 1):.1%}): {reasons}",
        do="Every rejected row stands there with its reason. Mend the source, or raise max_rejects.",
    )


def _by_reason(rejects: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reject in rejects:
        counts[reject["reason"]] = counts.get(reject["reason"], 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


# ---- second pass: final ids, final labels, final shards ----------------------------------------------------------


def _write_shards(spool: Path, survey: _Survey, noise: Noise, path: Any, shard_rows: int) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    splits = dict.fromkeys(SPLITS, 0)
    planted, at, shard, pending = 0, 0, 0, []
    held = 0

    def flush(*, last: bool) -> None:
        nonlocal pending, held, shard
        while held >= shard_rows or (last and held):
            table = pa.Table.from_batches(pending)
            part = table.slice(0, shard_rows)
            name = f"samples/{shard:05d}.parquet"
            pq.write_table(part.combine_chunks(), path(name, part.num_rows), compression="zstd", row_group_size=4096)
            rest = table.slice(shard_rows)
            pending, held, shard = rest.to_batches(), rest.num_rows, shard + 1

    with pq.ParquetFile(spool) as source:
        for batch in source.iter_batches(batch_size=4096):
            final, flips = _finalise(batch, at, survey, noise)
            at += batch.num_rows
            planted += flips
            for name in final["split"].to_pylist():
                splits[name] += 1
            pending.append(final)
            held += final.num_rows
            flush(last=False)
    flush(last=True)
    return {"classes": survey.classes, "splits": splits, "planted": planted}


def _finalise(batch: pa.RecordBatch, first: int, survey: _Survey, noise: Noise) -> tuple[pa.RecordBatch, int]:
    import numpy as np
    import pyarrow as pa

    from tasks.kernels.noise import flip_labels

    at = range(first, first + batch.num_rows)
    ids = [
        f"{content}-{survey.copies[i]}" if i in survey.copies else content
        for i, content in zip(at, batch["sample_id"].to_pylist(), strict=True)
    ]
    columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | {"sample_id": pa.array(ids, pa.string())}
    keep = np.array([i not in survey.dropped for i in at], bool)
    flips = 0
    if noise.share:
        index = {label: i for i, label in enumerate(survey.classes)}
        given = columns["label"].to_pylist()
        train = np.array([split == "train" for split in columns["split"].to_pylist()]) & keep
        labels = np.array([index.get(label, 0) for label in given], np.int64)
        decide, choose = _uniforms(ids, noise.seed)
        flipped = flip_labels(
            labels,
            np.where(train, decide, 1.0),
            choose,
            share=noise.share,
            classes=len(survey.classes),
            symmetric=noise.kind == "symmetric",
        )
        changed = flipped != labels
        flips = int(changed.sum())
        new = [survey.classes[f] if c else g for f, c, g in zip(flipped, changed, given, strict=True)]
        clean = [known if known is not None else g for known, g in zip(columns["clean_label"].to_pylist(), given, strict=True)]
        columns |= {"label": pa.array(new, pa.string()), "clean_label": pa.array(clean, pa.string())}
    final = pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)
    return final.filter(pa.array(keep)), flips


def _uniforms(ids: list[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two uniform numbers in [0, 1) for each sample id: functions of (seed, id) alone."""
    import numpy as np

    key = seed.to_bytes(8, "little", signed=True)
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=16, key=key).digest() for name in ids)
    # 53 bits, the precision of a float64: a 64-bit quotient could round up to 1.
    pairs = (np.frombuffer(digests, "<u8").reshape(-1, 2) >> np.uint64(11)) / 2.0**53
    return pairs[:, 0], pairs[:, 1]


def _write_rejects(rejects: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = sorted(rejects, key=lambda reject: (reject["source"], reject["row"] if reject["row"] is not None else -1))
    pq.write_table(pa.Table.from_pylist(rows, schema=REJECTS), path)


