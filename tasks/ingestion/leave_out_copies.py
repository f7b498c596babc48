"""leave_out_copies: samples → the same without the training copies that are to be left out."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import BadInput
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step

if TYPE_CHECKING:
    import pyarrow as pa

# Of the training samples and of the classes what must stay: with less, another dataset would be learned from.
_SHARE, _CLASSES = 0.5, 2


@step("leave out copies")
def leave_out_copies(run: Run, samples: Artefact, copies: Artefact) -> Artefact:
    """The samples that the rest of the run is about: no network, no arm and no figure knows the others.

    The dataset as it came, with them, is what a version is made of: that they are left out is a decision of it.

    Args:
        run: whose lake.
        samples: as ingested.
        copies: what find_copies left, ``left_out.parquet`` of it.

    Raises:
        BadInput: less than half of the training samples would stay, or fewer than two classes of them.
    """
    import pyarrow.parquet as pq

    (path,) = run.paths(copies, "left_out.parquet")
    gone = pq.read_table(path, columns=["sample_id"])["sample_id"].combine_chunks()
    _check_rest(run, samples, gone)
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


def _check_rest(run: Run, samples: Artefact, gone: pa.Array) -> None:
    import pyarrow.compute as pc

    from tasks.dataset.samples import table_of

    table = table_of(run, samples, ["sample_id", "split", "label"])
    trained = table.filter(pc.equal(table["split"], "train"))
    stay = trained.filter(pc.invert(pc.is_in(trained["sample_id"], value_set=gone)))
    # A set of responses or of one label has no two to begin with: what was not there cannot be lost.
    labels, before = len(pc.unique(stay["label"])), len(pc.unique(trained["label"]))
    if stay.num_rows >= _SHARE * trained.num_rows and labels >= min(_CLASSES, before):
        return
    raise BadInput(
        where="option copies.remove",
        expected=f"at least half of the training samples to stay, and {_CLASSES} labels among them",
        got=f"{trained.num_rows - stay.num_rows:,} would be left out, {stay.num_rows:,} stay, of {_plural(labels)}",
        do="Look at the view copies of a run with --copies.remove none; --copies.near false compares equal ones alone.",
    )


def _plural(labels: int) -> str:
    return f"{labels:,} label" if labels == 1 else f"{labels:,} labels"


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
