"""collect_opinions: files of class probabilities from outside → opinions.parquet, a row for a sample and an opinion."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput
from tasks.dataset.samples import table_of
from tasks.ingestion.opinions import OPINIONS, Opinion, OpinionFile, read
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step

if TYPE_CHECKING:
    import pyarrow as pa


@step("collect opinions")
def collect_opinions(run: Run, samples: Artefact, files: list[OpinionFile]) -> Artefact:
    """Read every file of opinions and keep what it says of training samples → ``opinions.parquet``, by sample_id.

    Facts of each opinion: its rows, training samples it speaks of and those it does not, rows of held-out samples,
    rows whose id names no sample, empty and normalised rows, columns that were not read.

    Raises:
        BadInput: a file is broken, or no id in it names a training sample.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    classes = samples.facts["classes"]
    known = table_of(run, samples, ["sample_id", "source_id", "split"])
    tables, facts = [], []
    for file in files:
        table, told = _of_training_samples(read(file, classes), known, classes)
        tables.append(table)
        facts.append(told)
    with run.draft("opinions") as draft:
        table = pa.concat_tables(tables)
        pq.write_table(table, draft.path("opinions.parquet", table.num_rows), compression="zstd")
        return draft.commit(opinions=facts)


def _of_training_samples(opinion: Opinion, known: pa.Table, classes: list[str]) -> tuple[pa.Table, dict[str, Any]]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = known[opinion.by].combine_chunks()
    _check_unambiguous(opinion, ids)
    index = pc.index_in(opinion.ids, value_set=ids)
    matched = pc.is_valid(index).to_numpy(zero_copy_only=False)
    training = np.zeros(len(matched), bool)
    rows = index.drop_null().to_numpy().astype(np.int64)
    training[matched] = pc.equal(known["split"], "train").to_numpy()[rows]
    if not training.any():
        raise _no_match(opinion, ids)
    empty = np.isnan(opinion.probabilities[:, 0])
    heard = training & ~empty
    p = opinion.probabilities[heard]
    names = known["sample_id"].combine_chunks().take(index.filter(pa.array(heard)))
    columns = [
        names,
        pa.array([opinion.name] * len(p), pa.string()),
        pa.array(classes, pa.string()).take(pa.array(p.argmax(1))),
        pa.array(p.max(1)),
        pa.ListArray.from_arrays(np.arange(0, p.size + 1, p.shape[1], dtype=np.int32), pa.array(p.ravel())),
    ]
    return pa.table(columns, schema=OPINIONS).sort_by("sample_id"), {
        "name": opinion.name,
        "rows": len(matched),
        "samples": int(heard.sum()),
        "silent": int(pc.sum(pc.equal(known["split"], "train")).as_py() - heard.sum()),
        "held_out": int((matched & ~training).sum()),
        "unknown": int((~matched).sum()),
        "empty": int(empty.sum()),
        "normalised": opinion.normalised,
        "unused": opinion.unused,
    }


def _check_unambiguous(opinion: Opinion, ids: pa.Array) -> None:
    import pyarrow.compute as pc

    counts = pc.value_counts(ids.drop_null())
    several = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    ambiguous = several.filter(pc.is_in(several, value_set=opinion.ids))
    if len(ambiguous):
        raise BadInput(
            where=opinion.where,
            expected="ids that name one sample each",
            got=f"{len(ambiguous):,} that the source gives to several, {ambiguous[0]} for one",
            do='Use a column sample_id: gradsieve sql "SELECT sample_id, source, source_row FROM samples" lists them.',
        )


def _no_match(opinion: Opinion, ids: pa.Array) -> BadInput:
    named = ids.drop_null()
    remedy = (
        'Use the ids of an earlier run: gradsieve sql "SELECT sample_id, source, source_row FROM samples" lists them.'
        if opinion.by == "sample_id"
        else "Name the source's column of ids with --reader.id, or use a column sample_id."
    )
    return BadInput(
        where=opinion.where,
        expected=f"ids of training samples, such as {named[0]}" if len(named) else "ids, but the source names none",
        got=f"{len(opinion.ids):,} others, {opinion.ids[0]} for one",
        do=remedy,
    )
