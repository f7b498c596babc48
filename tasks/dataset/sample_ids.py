"""What a sample is called, and the random numbers that follow from its name."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.dataset.payload import column_values

CONTENT_LETTERS = 32
"""Of a content hash, with which the ids of all its copies begin."""


def content_hashes(columns: list[pa.Array]) -> list[str]:
    """A sample's identity: BLAKE2b-128 of its inputs' bytes, in hex.

    Labels, row numbers and names are no part of it: a relabelled or moved sample keeps its id. Plain numbers are hashed
    as little-endian float64, so that a CSV and a Parquet file of the same table agree; lists in their own type; text
    as UTF-8, whatever tokenizer reads it; dates and the like as the text they are written as.
    """
    if len(columns) == 1 and pa.types.is_binary(columns[0].type):
        return [hashlib.blake2b(data, digest_size=16).hexdigest() for data in columns[0].to_pylist()]
    n = len(columns[0])
    if n == 0:
        return []
    if all(pa.types.is_string(column.type) for column in columns):
        texts = zip(*(column.to_pylist() for column in columns), strict=True)
        return [_hash_of_texts([text or "" for text in sample]) for sample in texts]
    if all(column.null_count == 0 and _is_numbers(column.type) for column in columns):
        flat = np.concatenate([_bytes_of_numbers(column) for column in columns], axis=1)
        rows, width = np.ascontiguousarray(flat).tobytes(), flat.shape[1]
        return [hashlib.blake2b(rows[i * width : (i + 1) * width], digest_size=16).hexdigest() for i in range(n)]
    joined = pc.binary_join_element_wise(*(part for column in columns for part in _parts(column)), b"")
    return [hashlib.blake2b(row, digest_size=16).hexdigest() for row in joined.to_pylist()]


def _is_numbers(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_fixed_size_list(kind)


def _bytes_of_numbers(column: pa.Array) -> np.ndarray:
    """n × bytes of numbers; a missing one is NaN, so that a row without is called the same whatever others lack."""
    is_list = pa.types.is_fixed_size_list(column.type)
    values = column_values(column if is_list or not column.null_count else column.cast(pa.float64(), safe=False))
    if not is_list:
        values = values.astype("<f8") + 0.0  # −0.0 and 0.0 are one number
        values[np.isnan(values)] = np.nan
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(column), -1)


def _parts(column: pa.Array) -> list[pa.Array]:
    """Columns of bytes that joined say what a column of any type holds; no two contents say the same.

    Words have their length in front: ("ab", "c") is not ("a", "bc"). A missing one has a length of −1.
    """
    if _is_numbers(column.type):
        numbers = _bytes_of_numbers(column)
        return [_binary(numbers)]
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    words = column.cast(pa.string()).cast(pa.binary())
    lengths = pc.fill_null(pc.binary_length(words).cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return [_binary(lengths.astype("<i8")[:, None].view(np.uint8)), pc.fill_null(words, b"")]


def _binary(values: np.ndarray) -> pa.Array:
    """The rows of n × bytes."""
    values = np.ascontiguousarray(values)
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(values.shape[1]), len(values), [None, pa.py_buffer(values.tobytes())]
    ).cast(pa.binary())


def _hash_of_texts(texts: list[str]) -> str:
    data = [text.encode() for text in texts]
    # Lengths first: ("ab", "c") is not ("a", "bc").
    lengths = b"".join(len(item).to_bytes(8, "little") for item in data) if len(data) > 1 else b""
    return hashlib.blake2b(lengths + b"".join(data), digest_size=16).hexdigest()


def inseparable(ids: list[str], groups: list[str | None], *, are_repeats: bool = False) -> np.ndarray:
    """What must share a fold: samples joined by content (a copy's id is its original's with a suffix) or by group.

    Args:
        ids: of the samples.
        groups: of the samples, None where one is in no group.
        are_repeats: equal inputs are repeats of a combination of values, which a fold must not have to itself.

    Returns:
        For each sample the rank of the smallest content hash it is joined with, directly or over others: the same
        whatever the order of the rows.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # As bytes, of which a string of NumPy's own takes four for each letter.
    names = np.array(ids if are_repeats else [name.partition("-")[0] for name in ids], np.bytes_)
    contents, content = np.unique(names, return_inverse=True)
    has_group = np.array([group is not None for group in groups], bool)
    _, group = np.unique([name for name in groups if name is not None], return_inverse=True)
    nodes = len(contents) + (int(group.max()) + 1 if len(group) else 0)
    edges = coo_array((np.ones(len(group)), (content[has_group], len(contents) + group)), shape=(nodes, nodes))
    component = connected_components(edges, directed=False)[1]
    smallest = np.full(nodes, nodes)
    np.minimum.at(smallest, component[: len(contents)], np.arange(len(contents)))
    return smallest[component[content]]


def join_near(
    units: np.ndarray,
    ids: list[str],
    near: pa.Table,
    most: int,
    folds: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    """Units, of which those with nearly equal members are one.

    Near is no bridge: what is near to something near may be another thing. The nearest are joined first, while a unit
    stays small enough and what it joins is in one fold of a base at most: of a crowd the nearest stay together.

    Args:
        units: of n samples, see ``inseparable``.
        ids: of the samples.
        near: ``content`` and ``other`` of pairs of content hashes, and their ``distance``; of a hash that no sample has
            nothing follows.
        most: samples that a joined unit may have.
        folds: of the samples in a base, −1 of those that are new; None without one.

    Returns:
        (for each sample the smallest unit it is joined with, pairs of units that stay apart).
    """
    names, unit = np.unique(units, return_inverse=True)
    contents = pc.utf8_slice_codeunits(pa.array(ids, pa.string()), 0, CONTENT_LETTERS)
    ends = [pc.index_in(near[column].combine_chunks(), value_set=contents) for column in ("content", "other")]
    both = pc.and_(pc.is_valid(ends[0]), pc.is_valid(ends[1]))
    pairs = np.sort(np.stack([unit[end.filter(both).to_numpy()] for end in ends]), axis=0)
    # Among equally near ones by name: the same whatever the order of the rows.
    pairs = pairs[:, np.lexsort((pairs[1], pairs[0], near["distance"].filter(both).to_numpy()))]
    fold = np.full(len(names), -1)
    if folds is not None:
        np.maximum.at(fold, unit, folds.astype(np.int64))
    root = _join(pairs[:, pairs[0] != pairs[1]], np.bincount(unit, minlength=len(names)), fold, most)
    return names[root[unit]], int((root[pairs[0]] != root[pairs[1]]).sum())


def _join(pairs: np.ndarray, sizes: np.ndarray, folds: np.ndarray, most: int) -> np.ndarray:
    """Of each unit the smallest one it is joined with, by pairs in the order in which they are joined."""
    parent, size, fold = list(range(len(sizes))), sizes.tolist(), folds.tolist()

    def root_of(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for first, second in pairs.T.tolist():
        a, b = sorted((root_of(first), root_of(second)))
        if a != b and size[a] + size[b] <= most and (fold[a] == fold[b] or min(fold[a], fold[b]) < 0):
            parent[b] = a
            size[a] += size[b]
            fold[a] = max(fold[a], fold[b])
    return np.array([root_of(node) for node in range(len(parent))], np.int64)


def uniforms(ids: list[str], seed: int, purpose: bytes = b"") -> tuple[np.ndarray, np.ndarray]:
    """Two uniform numbers in [0, 1) for each sample id: functions of (seed, purpose, id) alone.

    Args:
        ids: of the samples.
        seed: any 64-bit integer.
        purpose: at most 16 bytes; another purpose has other numbers, independent of these.
    """
    key = seed.to_bytes(8, "little", signed=True)
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=16, key=key, person=purpose).digest() for name in ids)
    # 53 bits, the precision of a float64: a 64-bit quotient could round up to 1.
    pairs = (np.frombuffer(digests, "<u8").reshape(-1, 2) >> np.uint64(11)) / 2.0**53
    return pairs[:, 0], pairs[:, 1]
