"""ingest: a reader's rows → typed, validated samples with content-hashed ids, and the rows that cannot be samples."""

from __future__ import annotations

from tasks.ingestion.label_noise import label_noise_of
from tasks.ingestion.readers import Reader
from tasks.ingestion.survey import check_classes, survey_of
from tasks.ingestion.two_passes import (
    Ingestion,
    by_reason,
    check_share,
    limit_rows,
    spool_rows,
    with_notes,
    write_rejects,
    write_shards,
)
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step


@step("ingest {reader.kind}")
def ingest(run: Run, reader: Reader, options: Ingestion) -> Artefact:
    """Read a source into ``samples/*.parquet`` and ``rejects.parquet``.

    Two streaming passes: the first validates, hashes and spools; the second, knowing all labels and all hashes, names
    duplicates, drops classes nobody can learn, plants noise if asked, and writes the final shards.

    Returns:
        Facts: payload, classes (given labels, sorted), target (what labels say, if not classes), splits, rows, rejects
        by reason, unused columns with the reasons, notes (what was left out of the source or taken for granted, if
        anything), duplicates, planted flips, cut (texts longer than networks read, of text).
    """
    payload, chunks = reader.open()
    with run.draft("samples") as draft:
        spool = draft.folder / "spool.parquet"
        notes: list[str] = []
        chunks = limit_rows(with_notes(chunks, notes), reader.limit)
        rejects, read, unused = spool_rows(chunks, payload, reader.held_out, spool)
        survey = survey_of(spool, *reader.says, where=f"reader {reader.kind}")
        rejects += survey.rejects
        check_share(run, rejects, read, options.max_rejects)
        check_classes(survey, read, f"reader {reader.kind}")
        label_noise = label_noise_of(spool, survey, reader.noise, payload)
        facts = write_shards(spool, survey, payload, label_noise, draft.path, options.shard_rows)
        write_rejects(rejects, draft.path("rejects.parquet", len(rejects)))
        spool.unlink()
        return draft.commit(
            payload=payload.model_dump(mode="json"),
            rows_read=read,
            rejects=by_reason(rejects),
            unused=[{"column": column, "reason": reason} for column, reason in unused.items()],
            duplicates=survey.duplicates,
            leaking_duplicates=survey.leak_count,
            **({"notes": notes} if notes else {}),
            **facts,
        )
