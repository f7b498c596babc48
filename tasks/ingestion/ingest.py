"""ingest: a reader's rows → typed, validated samples with content-hashed ids, and the rows that cannot be samples."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.parquet as pq

from tasks.core.sql import connect
from tasks.dataset.payload import Payload
from tasks.ingestion.copies import COPIES, contradictions_of, copies_of
from tasks.ingestion.files.refused_values import refused_values
from tasks.ingestion.label_forms import label_facts
from tasks.ingestion.label_noise import label_noise_of
from tasks.ingestion.readers import Reader
from tasks.ingestion.rejects import by_reason, check_share, write_rejects
from tasks.ingestion.splits import draw_splits
from tasks.ingestion.spool import Spool
from tasks.ingestion.survey import check_classes, survey_of
from tasks.ingestion.tables.fit_encoders import with_encoders
from tasks.ingestion.tables.leaks import with_leaks
from tasks.ingestion.tables.settle import settle
from tasks.ingestion.tables.told_columns import column_facts, columns_beside, write_columns
from tasks.ingestion.tables.weight_column import weight_facts
from tasks.ingestion.two_passes import (
    Ingestion,
    limit_rows,
    spool_rows,
    with_notes,
    write_shards,
)
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.assets import described
from tasks.pipeline.step import step


@step("ingest {reader.kind}", asset="samples")
def ingest(run: Run, reader: Reader, options: Ingestion, known: Payload | None = None) -> Artefact:
    """Read a source into ``samples/*.parquet``, ``rejects.parquet`` and ``columns.parquet``.

    Three streaming passes: the first spools a table as it came, on all of which the roles of its columns are settled;
    the second validates, hashes and spools; the third, knowing all labels and all hashes, draws splits, names
    duplicates, drops classes nobody can learn, plants noise if asked, and writes the final shards. Samples with the
    same inputs stand in ``copies.parquet``.

    Args:
        run: whose samples.
        reader: of the source.
        options: how samples are checked and laid out.
        known: the payload of a base, whose encoders are kept as long as they serve.

    Returns:
        Facts: payload, classes (given labels, sorted), target (what labels say, if not classes), splits, rows, rejects
        by reason, inputs with their kinds (of tables), unused columns with the reasons, notes (what was left out of the
        source or taken for granted, if anything), duplicates, contradictions (samples whose inputs bear another label
        elsewhere), label_forms, case_variants, doubtful_labels, untested_classes, untrained_classes, repeats (different
        inputs of a table of few), weight_column and weight_range (where rows have weights), planted flips, cut (texts
        longer than networks read, of text).
    """
    source = str(getattr(reader, "path", f"reader {reader.kind}"))
    with refused_values(source):
        inputs, came = reader.open()
    with refused_values(source), run.draft("samples") as draft:
        notes: list[str] = []
        # One database for all that is asked between the passes.
        with connect(draft.folder):
            chunks = limit_rows(with_notes(came, notes), reader.limit, more=reader.has_held_out_files)
            table = settle(inputs, chunks, draft.folder)
            where, has_classes = f"reader {reader.kind}", reader.says[0] == "class"
            path = draft.folder / "spool.parquet"
            spooled = spool_rows(table.chunks, table.payload, reader.no_label if has_classes else None, path)
            is_table = table.payload.kind == "array" and not table.payload.is_image
            spool = Spool(path, draw_splits(path, reader.held_out, is_table=is_table, has_classes=has_classes))
            survey = survey_of(spool, *reader.says, where=where)
            rejects = spooled.rejects + survey.rejects
            check_share(run, rejects, spooled.read, options.max_rejects, survey.advice)
            check_classes(survey, spooled.read, where)
            spool = replace(spool, dropped=frozenset(survey.dropped))
            payload = with_encoders(table.payload, table.stored, spool, where, known)
            weights = weight_facts(spool, reader.weight_column, source)
            label_noise = label_noise_of(spool, survey, reader.noise, payload)
            facts = write_shards(spool, survey, payload, label_noise, draft.path, options.shard_rows)
            write_rejects(rejects, draft.path("rejects.parquet", len(rejects)))
            columns = table.columns or columns_beside(payload, spooled.unused)
            if table.columns and has_classes:
                columns = with_leaks(columns, table.stored_names, spool)
            if columns:
                write_columns(columns, draft.path("columns.parquet", len(columns)))
            path.unlink()
            samples = sorted((draft.folder / "samples").glob("*.parquet"))
            copies = COPIES.empty_table()
            if spool.drawn.has_copies:
                copies = copies_of(samples, draft.folder, are_repeats=spool.drawn.are_repeats)
            pq.write_table(copies, draft.path("copies.parquet", copies.num_rows), compression="zstd")
        artefact = draft.commit(
            payload=payload.model_dump(mode="json"),
            rows_read=spooled.read,
            rejects=by_reason(rejects),
            **column_facts(columns),
            duplicates=survey.duplicates,
            leaking_duplicates=survey.leak_count,
            contradictions=contradictions_of(copies),
            **label_facts(survey.target.classes if has_classes else (), spooled.label_forms),
            **({"untested_classes": survey.untested} if survey.untested else {}),
            **({"untrained_classes": survey.untrained} if survey.untrained else {}),
            **({"repeats": spool.drawn.distinct} if spool.drawn.are_repeats else {}),
            **({"notes": notes} if notes else {}),
            **weights,
            **facts,
        )
        return described(artefact, "rows_read", "rejects", "splits", "duplicates", "leaking_duplicates")
