"""What a sample is called, and the random numbers that follow from its name."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from tasks.dataset.payload import column_values


def content_hashes(columns: list[pa.Array]) -> list[str]:
    """A sample's identity: BLAKE2b-128 of its inputs' bytes, in hex.

    Labels, row numbers and names are no part of it: a relabelled or moved sample keeps its id. Plain numbers are hashed
    as little-endian float64, so that a CSV and a Parquet file of the same table agree; lists in their own type; text
    as UTF-8, whatever tokenizer reads it.
    """
    if len(columns) == 1 and pa.types.is_binary(columns[0].type):
        return [hashlib.blake2b(data, digest_size=16).hexdigest() for data in columns[0].to_pylist()]
    n = len(columns[0])
    if n == 0:
        return []
    if pa.types.is_string(columns[0].type):
        texts = zip(*(column.to_pylist() for column in columns), strict=True)
        return [_hash_of_texts([text or "" for text in sample]) for sample in texts]
    parts = []
    for column in columns:
        values = column_values(column)
        if not pa.types.is_fixed_size_list(column.type):
            values = values.astype("<f8") + 0.0  # −0.0 and 0.0 are one number
        parts.append(np.ascontiguousarray(values).view(np.uint8).reshape(n, -1))
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    rows = np.ascontiguousarray(flat).tobytes()
    width = flat.shape[1]
    return [hashlib.blake2b(rows[i * width : (i + 1) * width], digest_size=16).hexdigest() for i in range(n)]


def _hash_of_texts(texts: list[str]) -> str:
    data = [text.encode() for text in texts]
    # Lengths first: ("ab", "c") is not ("a", "bc").
    lengths = b"".join(len(item).to_bytes(8, "little") for item in data) if len(data) > 1 else b""
    return hashlib.blake2b(lengths + b"".join(data), digest_size=16).hexdigest()


def inseparable(ids: list[str], groups: list[str | None]) -> np.ndarray:
    """What must share a fold: samples joined by content (a copy's id is its original's with a suffix) or by group.

    Returns:
        For each sample the rank of the smallest content hash it is joined with, directly or over others: the same
        whatever the order of the rows.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    contents, content = np.unique([name.partition("-")[0] for name in ids], return_inverse=True)
    has_group = np.array([group is not None for group in groups], bool)
    _, group = np.unique([name for name in groups if name is not None], return_inverse=True)
    nodes = len(contents) + (int(group.max()) + 1 if len(group) else 0)
    edges = coo_array((np.ones(len(group)), (content[has_group], len(contents) + group)), shape=(nodes, nodes))
    component = connected_components(edges, directed=False)[1]
    smallest = np.full(nodes, nodes)
    np.minimum.at(smallest, component[: len(contents)], np.arange(len(contents)))
    return smallest[component[content]]


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
