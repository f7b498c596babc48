"""present: a comparison → its tables as text, and its artifacts in the Prefect UI."""

from __future__ import annotations

from base64 import b64encode

from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from tasks.core.markdown import as_cells
from tasks.evaluation.comparison import Comparison
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import act
from tasks.report.summary import work_summary


@act("present")
def present(run: Run, comparison_artefact: Artefact, stages: list[Artefact]) -> str:
    """Say which detectors and budgets found most, and what was recomputed; returns the text."""
    comparison = Comparison.read(run.lake, comparison_artefact)
    work = work_summary([(stage.stage, stage.made_by) for stage in stages], run.run_id)
    create_markdown_artifact(f"{comparison.markdown()}\n\n_{work}_", key="comparison", description="What found most")
    create_table_artifact(as_cells(comparison.detectors()), key="detectors", description="How well each detector ranks")
    create_table_artifact(
        as_cells(comparison.budgets()),
        key="budgets",
        description="How well each budget counts, by detector",
    )
    # As a data URI: the UI then shows it from anywhere, and nobody has to serve files.
    image = b64encode((comparison.folder / "plot.png").read_bytes()).decode()
    create_image_artifact(
        f"data:image/png;base64,{image}", key="precision-recall", description="Precision against recall"
    )
    run.log(
        {
            "run_id": comparison_artefact.made_by,
            "dataset": comparison_artefact.facts["dataset"],
            "state": "completed",
            "work": work,
        }
    )
    return f"{comparison.text()}\n\n{work}"
