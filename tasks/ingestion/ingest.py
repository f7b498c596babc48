"""ingest: a reader's rows → typed, validated samples with content-hashed ids, and the rows that cannot be samples."""

from __future__ import annotations

from tasks.dataset.payload import Payload
from tasks.ingestion.fit_encoders import with_encoders
from tasks.ingestion.label_noise import label_noise_of
from tasks.ingestion.leaks import with_leaks
from tasks.ingestion.readers import Reader
from tasks.ingestion.settle import settle
from tasks.ingestion.survey import check_classes, survey_of
from tasks.ingestion.told_columns import column_facts, columns_beside, write_columns
from tasks.ingestion.two_passes import (
    Ingestion,
    by_reason,
    check_share,
    limit_rows,
    spool_rows,
    write_rejects,
    write_shards,
)
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step


@step("ingest {reader.kind}")
def ingest(run: Run, reader: Reader, options: Ingestion, known: Payload | None = None) -> Artefact:
    """Read a source into ``samples/*.parquet``, ``rejects.parquet`` and ``columns.parquet``.

    Three streaming passes: the first spools a table as it came, on all of which the roles of its columns are settled;
    the second validates, hashes and spools; the third, knowing all labels and all hashes, names duplicates, drops
    classes nobody can learn, plants noise if asked, and writes the final shards.

    Args:
        run: whose samples.
        reader: of the source.
        options: how samples are checked and laid out.
        known: the payload of a base, whose encoders are kept as long as they serve.

    Returns:
        Facts: payload, classes (given labels, sorted), target (what labels say, if not classes), splits, rows, rejects
        by reason, inputs with their kinds (of tables), unused columns with the reasons, duplicates, planted flips, cut
        (texts longer than networks read, of text).
    """
    inputs, came = reader.open()
    with run.draft("samples") as draft:
        spool = draft.folder / "spool.parquet"
        table = settle(inputs, limit_rows(came, reader.limit), draft.folder)
        rejects, read, unused = spool_rows(table.chunks, table.payload, reader.held_out, spool)
        survey = survey_of(spool, *reader.says, where=f"reader {reader.kind}")
        rejects += survey.rejects
        check_share(run, rejects, read, options.max_rejects)
        check_classes(survey, read, f"reader {reader.kind}")
        payload = with_encoders(table.payload, table.stored, spool, f"reader {reader.kind}", known)
        label_noise = label_noise_of(spool, survey, reader.noise, payload)
        facts = write_shards(spool, survey, payload, label_noise, draft.path, options.shard_rows)
        write_rejects(rejects, draft.path("rejects.parquet", len(rejects)))
        columns = table.columns or columns_beside(payload, unused)
        if table.columns and survey.target.kind == "class":
            columns = with_leaks(columns, table.stored_names, spool)
        if columns:
            write_columns(columns, draft.path("columns.parquet", len(columns)))
        spool.unlink()
        return draft.commit(
            payload=payload.model_dump(mode="json"),
            rows_read=read,
            rejects=by_reason(rejects),
            **column_facts(columns),
            duplicates=survey.duplicates,
            leaking_duplicates=survey.leak_count,
            **facts,
        )
