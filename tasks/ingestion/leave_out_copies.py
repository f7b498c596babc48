"""leave_out_copies: samples → the same without the training copies that are to be left out."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step

if TYPE_CHECKING:
    import pyarrow as pa


@step("leave out copies")
def leave_out_copies(run: Run, samples: Artefact, copies: Artefact) -> Artefact:
    """The samples that the rest of the run is about: no network, no arm and no figure knows the others.

    The dataset as it came, with them, is what a version is made of: that they are left out is a decision of it.

    Args:
        run: whose lake.
        samples: as ingested.
        copies: what find_copies left, ``left_out.parquet`` of it.
    """
    import pyarrow.parquet as pq

    (path,) = run.paths(copies, "left_out.parquet")
    gone = pq.read_table(path, columns=["sample_id"])["sample_id"].combine_chunks()
    splits = dict(samples.facts["splits"])
    with run.draft("samples") as draft:
        for file in samples.files:
            source = run.path(samples, file)
            count = _count_among(source, gone) if file.name.startswith("samples/train-") else 0
            if count:
                _write_without(source, gone, draft.path(file.name, file.rows - count))
                splits["train"] -= count
            else:
                draft.adopt(file, source)
        return draft.commit(**(samples.facts | {"splits": splits}))


def _count_among(source: Path, ids: pa.Array) -> int:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    return pc.sum(pc.is_in(pq.read_table(source, columns=["sample_id"])["sample_id"], value_set=ids)).as_py() or 0


def _write_without(source: Path, gone: pa.Array, target: Path) -> None:
    """Write the rows that stay, a few at a time: pictures are large."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file, pq.ParquetWriter(target, file.schema_arrow, compression="zstd") as sink:
        for batch in file.iter_batches(batch_size=4096):
            sink.write_batch(batch.filter(pc.invert(pc.is_in(batch["sample_id"], value_set=gone))))
