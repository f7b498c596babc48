"""Samples whose inputs are nearly the same, and what follows from copies: leaks, and what is left out for them."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core.sql import connect, literal, query
from tasks.dataset.payload import Payload, to_array
from tasks.dataset.sample_ids import CONTENT_LETTERS
from tasks.ingestion.copies import COPIES, LEAKS, LEFT_OUT, NEAR_CONTENTS
from tasks.ingestion.near_pictures import near_pictures, pictures_of_vectors, prints_of
from tasks.ingestion.near_texts import near_texts, shingles_of, texts_of_vectors
from tasks.kernels.near_pairs import Pairs, near_vectors, pairs_of

# What is near of features: copies of a picture in another size or quality have .99 and more, other pictures less.
# An encoder that was trained on these classes, or on nothing, has one place for many: the inputs have the last word.
_COSINE = 0.99
# Where more contents than this share have a false copy by their features, the encoder is told of.
_FALSE = 0.1
# Pictures of one scene: more than half of all are in crowds of so many, of which each is near to another.
_CROWD, _IN_CROWDS = 8, 0.5
# Rows read at a time: encoded pictures are large.
_ROWS = 256


class NearContents(NamedTuple):
    """Different contents that are nearly equal."""

    pairs: pa.Table
    """Schema ``NEAR_CONTENTS``, each pair once."""
    skipped: dict[str, int]
    """What could not be compared, by the reason: contents, or pairs of them."""
    alike: int = 0
    """Contents in crowds, where most are: a fixed camera took them, or they are a series, and near means nothing."""
    contents: int = 0
    """How many there are."""


class Contents:
    """The different contents of samples: the first sample of each.

    Args:
        files: of all samples.
        payload: of the samples.
    """

    def __init__(self, files: list[Path], payload: Payload) -> None:
        self.files, self.payload = files, payload
        ids = pa.chunked_array(
            [pq.read_table(file, columns=["sample_id"])["sample_id"].combine_chunks() for file in files]
        )
        contents = pc.utf8_slice_codeunits(ids, 0, CONTENT_LETTERS).combine_chunks().dictionary_encode()
        self.names = contents.dictionary
        self._codes = contents.indices.to_numpy()
        self._is_first = np.zeros(len(self._codes), bool)
        self._is_first[np.unique(self._codes, return_index=True)[1]] = True

    def batches(self, files: list[Path], columns: list[str]) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """(positions among ``names``, columns of the first sample of each), from files with the samples' rows."""
        start = 0
        for path in files:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
                    part = slice(start, start + batch.num_rows)
                    mask = self._is_first[part]
                    yield self._codes[part][mask], batch.select(columns).filter(pa.array(mask))
                    start += batch.num_rows

    def rows(self) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """(position, what stands in the sample's own columns)."""
        for codes, batch in self.batches(self.files, self.payload.own):
            yield from zip(
                codes.tolist(), zip(*(column.to_pylist() for column in batch.columns), strict=True), strict=True
            )


def near_contents(contents: Contents, vectors: np.ndarray | None = None) -> NearContents:
    """Pairs of contents that are nearly equal: as pictures, as texts.

    Args:
        contents: of the samples.
        vectors: n × d, what a frozen encoder made of each; it proposes pairs, which the inputs confirm.
    """
    payload = contents.payload
    proposed = near_vectors(vectors, _COSINE) if vectors is not None else pairs_of([])
    if payload.tokens:
        texts = shingles_of(_texts(contents), len(payload.own))
        pairs = [near_texts(texts), texts_of_vectors(texts, _texts(contents), proposed)]
        skipped = {"texts without a word": texts.empty}
    elif payload.is_image:
        prints = prints_of(_pictures(contents))
        pairs = [near_pictures(prints), pictures_of_vectors(prints, proposed)]
        skipped = {"pictures of less than 16 pixels": prints.tiny, "pictures of one colour": prints.flat}
    else:
        pairs, skipped = [pairs_of([]), pairs_of([])], {}
    false = _false_copies(proposed, pairs[1])
    skipped["the encoder cannot tell copies"] = false if false > _FALSE * len(contents.names) else 0
    skipped["pairs in too large a crowd"] = sum(of.uncompared for of in pairs)
    alike = _in_crowds(pairs, len(contents.names)) if payload.is_image else 0
    skipped = {reason: count for reason, count in skipped.items() if count}
    return NearContents(_table(contents.names, pairs), skipped, alike, len(contents.names))


def _in_crowds(pairs: list[Pairs], contents: int) -> int:
    """Contents that are joined with seven others or more, directly or over others; 0 if these are no more than half."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = (np.concatenate([of[end] for of in pairs]) for end in (0, 1))
    edges = coo_array((np.ones(len(first)), (first, second)), shape=(contents, contents))
    component = connected_components(edges, directed=False)[1]
    sizes = np.bincount(component)
    crowded = int(sizes[sizes >= _CROWD].sum())
    return crowded if crowded > _IN_CROWDS * contents else 0


def _false_copies(proposed: Pairs, confirmed: Pairs) -> int:
    """Contents in a pair that was proposed and not confirmed."""
    keys = [of.first << 32 | of.second for of in (proposed, confirmed)]
    false = ~np.isin(*keys, assume_unique=True)
    return len(np.union1d(proposed.first[false], proposed.second[false]))


def _texts(contents: Contents) -> Iterator[tuple[int, tuple[str, ...]]]:
    return ((i, tuple(text or "" for text in row)) for i, row in contents.rows())


def _pictures(contents: Contents) -> Iterator[tuple[int, bytes | np.ndarray]]:
    """(position, encoded picture, or its pixels where pixels are what came: H × W grey, or H × W × 3)."""
    payload = contents.payload
    if payload.kind == "image":
        yield from ((index, row[0]) for index, row in contents.rows())
    elif payload.dtype == "uint8" and payload.shape[0] in (1, 3):
        for codes, batch in contents.batches(contents.files, list(payload.columns)):
            pixels = to_array(batch, payload)
            pixels = pixels[:, 0] if payload.shape[0] == 1 else pixels.transpose(0, 2, 3, 1)
            yield from zip(codes.tolist(), pixels, strict=True)


def _table(names: pa.Array, pairs: list[Pairs]) -> pa.Table:
    """All pairs, each once, with the smallest of its distances."""
    every = pairs_of([(of.first, of.second, of.distance) for of in pairs])
    order = np.lexsort((every.distance, every.second, every.first))
    codes = np.stack([every.first, every.second], axis=1)[order]
    once = np.append(True, (codes[1:] != codes[:-1]).any(1)) if len(codes) else np.empty(0, bool)
    columns = [names.take(pa.array(codes[once, 0])), names.take(pa.array(codes[once, 1])), every.distance[order][once]]
    return pa.table([pa.array(column) for column in columns], schema=NEAR_CONTENTS)


# ---- what follows ------------------------------------------------------------------------------------------------


class CopyTables:
    """Questions about samples and their copies, put to their files."""

    def __init__(self, db: duckdb.DuckDBPyConnection, *, exact: bool, tolerance: float | None) -> None:
        self._db, self._exact = db, exact
        self.tolerance = tolerance
        """Numbers that differ by no more are one label; None of labels that are no numbers."""

    def contradicted(self, near: pa.Table) -> int:
        """Samples with a near copy under another label."""
        self._db.register("beside", near)
        sql = "SELECT count(DISTINCT sample_id) FROM beside WHERE kind = 'near' AND NOT same_label(label, other_label)"
        return self._db.sql(sql).fetchall()[0][0]

    def near(self, kind: str = "near") -> pa.Table:
        """Schema ``COPIES``: each sample beside its near copies (tasks/ingestion/near_copies.sql)."""
        return self._db.sql(query("ingestion/near_copies"), params={"kind": kind}).to_arrow_table().cast(COPIES)

    def forget_near(self) -> None:
        """Later questions are of equal contents alone."""
        self._db.register("pairs", NEAR_CONTENTS.empty_table())

    def leaks(self) -> pa.Table:
        """Schema ``LEAKS``: samples with a copy across the border of training (tasks/ingestion/leaks.sql)."""
        return self._db.sql(query("ingestion/leaks"), params={"exact": self._exact}).to_arrow_table().cast(LEAKS)

    def leave_out(self, remove: str) -> pa.Table:
        """Schema ``LEFT_OUT``: the training samples that ``remove`` leaves out; later questions are of the others."""
        left_out = LEFT_OUT.empty_table() if remove == "none" else self._left_out(remove)
        self._db.register("left_out", left_out)
        self._db.execute("DELETE FROM samples WHERE sample_id IN (SELECT sample_id FROM left_out)")
        return left_out

    def _left_out(self, remove: str) -> pa.Table:
        leaks = self.leaks()
        trained = leaks.filter(pc.equal(leaks["split"], "train"))
        self._db.register("leaks", trained)
        reason = pc.binary_join_element_wise(trained["kind"], " copy of a ", trained["other_split"], " sample", "")
        chosen = [trained.select(["sample_id", "other_id", "kind", "distance"]).append_column("reason", reason)]
        if remove == "train":
            sql = query("ingestion/train_copies")
            copies = spare_copies(self._db.sql(sql, params={"exact": self._exact}).to_arrow_table())
            reason = pc.binary_join_element_wise(copies["kind"], " copy of a training sample of the same label", "")
            chosen.append(copies.append_column("reason", reason))
        self._db.register("chosen", pa.concat_tables(chosen, promote_options="permissive"))
        columns = ", ".join(f'"{name}"' for name in LEFT_OUT.names)
        return (
            self._db.sql(f"SELECT {columns} FROM rows JOIN chosen USING (sample_id) ORDER BY 1")
            .to_arrow_table()
            .cast(LEFT_OUT)
        )

    def emptied(self) -> list[str]:
        """Labels of which no training sample is left."""
        sql = "SELECT DISTINCT label FROM left_out ANTI JOIN samples USING (label, split) ORDER BY label"
        return [label for (label,) in self._db.sql(sql).fetchall()]

    def near_in_training(self) -> pa.Table:
        """Schema ``NEAR_CONTENTS``: the pairs of which samples are trained on: what must share a fold."""
        trained = "SELECT content FROM samples WHERE split = 'train'"
        sql = f"FROM pairs WHERE content IN ({trained}) AND other IN ({trained}) ORDER BY content, other"
        return self._db.sql(sql).to_arrow_table().cast(NEAR_CONTENTS)


@contextmanager
def copy_tables(
    files: list[Path], pairs: pa.Table, scratch: Path, *, exact: bool, numbers: bool = False
) -> Iterator[CopyTables]:
    """The samples of some files, and which contents are near.

    Args:
        files: of all samples, under their final ids and labels.
        pairs: schema ``NEAR_CONTENTS``.
        scratch: a folder for what does not fit into memory.
        exact: whether equal contents are copies, and no repeats of a combination of values.
        numbers: whether labels are numbers: those are the same that differ by a tenth of the training labels'
            interquartile range at most, and not as texts.
    """
    with connect(scratch) as db:
        names = "[" + ", ".join(literal(file) for file in files) + "]"
        db.register("pairs", pairs)
        db.execute(
            f"""CREATE TEMP VIEW rows AS
                SELECT sample_id, split, label, source, "row", source_id FROM read_parquet({names})"""
        )
        db.execute(
            """CREATE TEMP TABLE samples AS
               SELECT sample_id, split_part(sample_id, '-', 1) AS content, split, label FROM rows"""
        )
        tolerance = _tolerance(db) if numbers else None
        same = "a = b" if tolerance is None else f"abs(a::DOUBLE - b::DOUBLE) <= {tolerance!r}::DOUBLE"
        db.execute(f"CREATE TEMP MACRO same_label(a, b) AS {same}")
        yield CopyTables(db, exact=exact, tolerance=tolerance)


def _tolerance(db: duckdb.DuckDBPyConnection) -> float:
    """A tenth of the interquartile range of the training labels."""
    sql = "SELECT quantile_cont(label::DOUBLE, [0.25, 0.75]) FROM samples WHERE split = 'train'"
    ((low, high),) = (row[0] for row in db.sql(sql).fetchall())
    return (high - low) / 10


def spare_copies(copies: pa.Table) -> pa.Table:
    """Of samples beside copies whose names come first, in the order of their names, those whose copy stays.

    A copy of a sample that is left out itself stays, unless another copy of it does.
    """
    spare: dict[str, int] = {}
    columns = zip(copies["sample_id"].to_pylist(), copies["other_id"].to_pylist(), strict=True)
    for index, (sample, other) in enumerate(columns):
        if sample not in spare and other not in spare:
            spare[sample] = index
    return copies.take(pa.array(list(spare.values()), pa.int64()))
