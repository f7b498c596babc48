"""record_traces: what was traced of a recorded run → one whole, immutable folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from tasks.pipeline.artefacts import MANIFEST, Artefact, Run
from tasks.pipeline.durable_files import link_or_copy, whole_folder, write_durably
from tasks.pipeline.step import step
from tasks.scoring.influence_traces import Tracing


@step("record traces")
def record_traces(run: Run, run_id: str, dataset: str, options: Tracing, traces: Artefact) -> Artefact:
    """Write ``traces/<trace id>/``: ``traced.parquet``, ``trace.json`` (of which run, by which options), the manifest.

    The same of the same run, asked for again, is the folder that is there.
    """
    final = run.lake / "traces" / run.run_id
    alike = traces.facts["alike"] or {}
    summary = {
        "trace_id": run.run_id,
        "run_id": run_id,
        "dataset": dataset,
        "recorded": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "queries": traces.facts["queries"],
        "split": traces.facts["split"],
        "roc_auc": alike.get("roc_auc"),
        "recall": alike.get("recall"),
        "options": options.model_dump(mode="json"),
    }
    artefact = Artefact(
        stage="traces",
        folder=str(final.relative_to(run.lake)),
        files=traces.files,
        facts=summary,
        digest=run.run_id,
        made_by=run.run_id,
    )
    with whole_folder(final) as aside:
        for file in traces.files:
            link_or_copy(run.path(traces, file), aside / file.name)
        write_durably(aside / "trace.json", json.dumps(summary, indent=1))
        write_durably(aside / MANIFEST, artefact.model_dump_json(indent=1))
    return artefact
