"""record: everything a run made → one whole, immutable run folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from prefect.runtime import flow_run

from tasks.pipeline.artefacts import MANIFEST, Artefact, Run
from tasks.pipeline.durable_files import link_or_copy, whole_folder, write_durably
from tasks.pipeline.recorded_run import CONFIG_FILE, RUN_FILE
from tasks.pipeline.run_documents import with_documents
from tasks.pipeline.step import step
from tasks.pipeline.stored_names import inside

# Stages a run has one of; their facts make its summary.
_SUMMARY_STAGES = (
    "samples", "copies", "network", "folds", "votes", "opinions", "scores", "examination", "search", "flags", "drift",
    "metrics",
)  # fmt: skip


@step("record")
def record(run: Run, dataset: str, config: str, stages: list[Artefact]) -> Artefact:
    """Link every stage's files into ``runs/<run_id>/``, and write config.yaml and, last, run.json.

    The manifest keeps the digests of both, for nothing else would say that they were altered.

    Hard links where the file system has them: stages shared between runs take space once, and no run depends on
    another's folder or on the cache.
    """
    final = run.lake / "runs" / run.run_id
    facts = {stage.stage: stage.facts for stage in stages if stage.stage in _SUMMARY_STAGES}
    summary = {
        "run_id": run.run_id,
        "dataset": dataset,
        "recorded": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "train_samples": facts["samples"]["splits"]["train"],
        "test_samples": facts["samples"]["splits"]["test"],
        "rejected": sum(facts["samples"]["rejects"].values()),
        "flagged": facts["flags"]["flagged"],
        "detector": facts["flags"]["detector"],
        "accuracy_untouched": facts["metrics"]["accuracy"]["untouched"],
        "accuracy_cleaned": facts["metrics"]["accuracy"].get("cleaned"),
        "accuracy_random": facts["metrics"]["accuracy"]["random"],
        "accuracy_relabelled": facts["metrics"]["accuracy"].get("relabelled"),
        "verdict": facts["metrics"]["verdict"]["word"],
        "prefect_run_id": flow_run.id,
        "facts": facts,
        "stages": [stage.model_dump(mode="json") for stage in stages],
    }
    files = [file for stage in stages for file in stage.files]
    artefact = Artefact(
        stage="run",
        folder=str(final.relative_to(run.lake)),
        files=tuple(files),
        facts={"dataset": dataset},
        digest=run.run_id,
        made_by=run.run_id,
    )
    with whole_folder(final) as aside:
        for stage in stages:
            for file in stage.files:
                link_or_copy(run.path(stage, file), inside(aside, file.name))
        documents = {CONFIG_FILE: config, RUN_FILE: json.dumps(summary, indent=1)}
        write_durably(aside / CONFIG_FILE, config)
        write_durably(aside / MANIFEST, with_documents(artefact, documents))
        write_durably(aside / RUN_FILE, documents[RUN_FILE])
    return artefact
