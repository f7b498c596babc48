"""encode: samples + a frozen encoder → the same samples, whose inputs are the encoder's vectors."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tasks.core.devices import Device, exclusive
from tasks.core.progress import LOGGER, Progress, check
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
    payload = payload_of(samples)
    encoder.check(payload)
    store = FeatureStore(run.lake, encoder.key(payload))
    for name in store.drop_damaged():
        LOGGER.warning("encode: %s in the store of vectors was damaged, and is made again", name)
    missing = _missing(run, samples, store)
    if missing:
        LOGGER.info("encode: %s of the samples are new to the encoder", f"{len(missing):,}")
        with exclusive(where) as device, Progress("encode", len(missing)) as progress:
            embed = encoder.embedder(device)
            for contents, vectors in _parts(_vectors(embed, _cells(run, samples, payload, encoder, missing))):
                check()
                store.add(contents, vectors)
                progress.step(steps=len(contents))
    vectors = Payload(
        kind="features", columns=payload.columns, shape=(store.width,), dtype="float32", encoder=encoder.key(payload)
    )
    return samples.with_facts(payload=vectors.model_dump(mode="json"))


def _missing(run: Run, samples: Artefact, store: FeatureStore) -> set[str]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    known, missing = store.known(), set()
    for path in sample_paths(run, samples):
        contents = contents_of(pq.read_table(path, columns=["sample_id"])["sample_id"].to_pylist())
        missing |= set(contents.filter(pc.invert(pc.is_in(contents, value_set=known))).to_pylist())
    return missing


def _cells(
    run: Run, samples: Artefact, payload: Payload, encoder: FrozenEncoder, missing: set[str]
) -> Iterator[tuple[list[str], list[Any]]]:
    """Contents that are missing, each once, with their inputs: so few at a time that large pictures can be held."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    left = set(missing)
    for path in sample_paths(run, samples):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH, columns=["sample_id", *payload.columns]):
                contents = contents_of(batch["sample_id"].to_pylist()).to_pylist()
                rows = [row for row, name in enumerate(contents) if name in left and name not in contents[:row]]
                left.difference_update(contents[row] for row in rows)
                if rows:
                    inputs = batch.take(pa.array(rows)).select(list(payload.columns))
                    yield [contents[row] for row in rows], encoder.cells(inputs, payload)


def _vectors(embed: Embed, batches: Iterator[tuple[list[str], list[Any]]]) -> Iterator[tuple[list[str], np.ndarray]]:
    """What the encoder makes of each batch.

    Raises:
        BadModel: something else than one vector of finite numbers for each sample.
    """
    import numpy as np

    from tasks.core.errors import BadModel

    for contents, cells in batches:
        vectors = embed(cells).numpy()
        is_whole = vectors.ndim == 2 and len(vectors) == len(contents)
        finite = np.isfinite(vectors).all(axis=1) if is_whole else np.zeros(1, bool)
        if not finite.all():
            raise BadModel(
                where=f"model encoder, sample {contents[int(np.argmin(finite))]}",
                expected="one vector of finite numbers a sample",
                got="NaN or infinity" if is_whole else f"an array of shape {vectors.shape}",
                do="Choose another encoder, or set the sample aside.",
            )
        yield contents, vectors


def _parts(batches: Iterator[tuple[list[str], np.ndarray]]) -> Iterator[tuple[list[str], np.ndarray]]:
    """The vectors of several batches together: a part of the store."""
    import numpy as np

    contents: list[str] = []
    vectors: list[np.ndarray] = []
    for names, of_batch in batches:
        contents, vectors = [*contents, *names], [*vectors, of_batch]
        if len(contents) >= _PART:
            yield contents, np.concatenate(vectors)
            contents, vectors = [], []
    if contents:
        yield contents, np.concatenate(vectors)
