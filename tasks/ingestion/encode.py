"""encode: samples + a frozen encoder → the same samples, whose inputs are the encoder's vectors."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tasks.core.devices import Device, exclusive
from tasks.dataset.encoders.frozen import Embed, FrozenEncoder
from tasks.dataset.feature_store import FeatureStore, contents_of
from tasks.dataset.payload import Payload, payload_of
from tasks.dataset.samples import sample_paths
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import act

if TYPE_CHECKING:
    import numpy as np

# Samples that a network is given at a time, and that a part of the store holds: so many are lost by a kill.
_BATCH, _PART = 64, 1024


@act("encode by {encoder.kind}")
def encode(run: Run, samples: Artefact, encoder: FrozenEncoder, where: Device) -> Artefact:
    """See to it that the lake's store has a vector of every sample, each content computed once in the store's life.

    Never cached: it looks at what is there.

    Raises:
        BadModel: the encoder cannot read the samples, or its vectors are not finite.
    """
    from tasks.core.progress import LOGGER, Progress, check

    payload = payload_of(samples)
    digest = encoder.digest_for(payload)
    store = FeatureStore(run.lake, digest)
    encoder.check(payload)
    missing = _missing(run, samples, store)
    if missing:
        LOGGER.info("encode: %s of the samples are new to the encoder", f"{len(missing):,}")
        with exclusive(where) as device, Progress("encode", len(missing)) as progress:
            embed = encoder.embedder(device)
            for contents, cells in _parts(run, samples, payload, encoder, missing):
                check()
                store.add(contents, _vectors(embed, cells, contents))
                progress.step(steps=len(contents))
    shape = (store.parts[0]["vector"].type.list_size,)
    vectors = Payload(kind="features", columns=payload.columns, shape=shape, dtype="float32", encoder=digest)
    return samples.with_facts(payload=vectors.model_dump(mode="json"))


def _missing(run: Run, samples: Artefact, store: FeatureStore) -> set[str]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    known, missing = store.known(), set()
    for path in sample_paths(run, samples):
        contents = contents_of(pq.read_table(path, columns=["sample_id"])["sample_id"].to_pylist())
        missing |= set(contents.filter(pc.invert(pc.is_in(contents, value_set=known))).to_pylist())
    return missing


def _parts(
    run: Run, samples: Artefact, payload: Payload, encoder: FrozenEncoder, missing: set[str]
) -> Iterator[tuple[list[str], list[list[Any]]]]:
    """(contents, their inputs in batches) of what is missing, so many at a time."""
    contents: list[str] = []
    batches: list[list[Any]] = []
    left = set(missing)
    for path in sample_paths(run, samples):
        for names, cells in _new_cells(str(path), payload, encoder, left):
            contents += names
            batches.append(cells)
            if len(contents) >= _PART:
                yield contents, batches
                contents, batches = [], []
    if contents:
        yield contents, batches


def _new_cells(
    path: str, payload: Payload, encoder: FrozenEncoder, left: set[str]
) -> Iterator[tuple[list[str], list[Any]]]:
    """Of one file the contents that are left to encode, each once, with their inputs; takes them out of ``left``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH, columns=["sample_id", *payload.columns]):
            contents = contents_of(batch["sample_id"].to_pylist()).to_pylist()
            rows = [row for row, name in enumerate(contents) if name in left and name not in contents[:row]]
            left.difference_update(contents[row] for row in rows)
            if rows:
                inputs = batch.take(pa.array(rows)).select(list(payload.columns))
                yield [contents[row] for row in rows], encoder.cells(inputs, payload)


def _vectors(embed: Embed, batches: list[list[Any]], contents: list[str]) -> np.ndarray:
    import numpy as np

    from tasks.core.errors import BadModel

    vectors = np.concatenate([embed(cells).numpy() for cells in batches])
    finite = np.isfinite(vectors).all(axis=1)
    if vectors.ndim != 2 or len(vectors) != len(contents) or not finite.all():
        got = "NaN or infinity" if vectors.ndim == 2 else f"an array of shape {vectors.shape}"
        raise BadModel(
            where=f"model encoder, sample {contents[int(np.argmin(finite))]}",
            expected="one vector of finite numbers a sample",
            got=got,
            do="Choose another encoder, or set the sample aside.",
        )
    return vectors
