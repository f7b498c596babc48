"""report: a recorded run → the summary, and its artifacts in the Prefect UI."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import base64
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.events import emit_event
from prefect.futures import PrefectFutureList, as_completed
from prefect.runtime import flow_run

from tasks.core.errors import BadArtefact
from tasks.core.events import DRIFT, VERDICT
from tasks.core.markdown import as_cells
from tasks.core.progress import LOGGER
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.assets import describe_asset
from tasks.pipeline.step import act
from tasks.pipeline.stored_names import in_lake
from tasks.report.summary import Summary, work_summary
from tasks.versions.history import CURRENT, History

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.report.gallery import Gallery

# Rows of the table of suspects, and of the audit.
SUSPECTS = 50
AUDIT_ROWS = 50


@act("report", asset="report")
def report(
    run: Run, record: Artefact, history: History, version: Artefact, promotion: str, stages: list[Artefact]
) -> str:
    """Report what the run found, the version it made and what it recomputed: in both logs and as artifacts.

    Writes the page with all of it to the lake, and beside the versions where those are in a bucket.

    Returns:
        The text.
    """
    from tasks.pipeline.page_link import link_to
    from tasks.report.figures import figures
    from tasks.report.gallery import LEAST_SHOWN, gallery
    from tasks.report.run_page import put_down

    summary = Summary.read(run.lake, record.made_by)
    charts = figures(in_lake(run.lake, record.folder), summary.facts)
    page = put_down(run.lake, record.made_by, history, version.facts["version"], charts)
    work = work_summary([(stage.stage, stage.made_by) for stage in stages], run.run_id)
    # A browser does not follow a link to a file.
    link = f"[The page of this run]({link_to(page)})\n\n" if link_to(page).startswith("http") else ""
    text = f"{summary.markdown()}\n\n{link}_{work}_"
    create_markdown_artifact(text, key="summary", description="What the run found")
    create_table_artifact(
        as_cells(_suspects(run, record)),
        key="suspects",
        description=f"The {SUSPECTS} most suspect samples",
    )
    create_table_artifact(
        as_cells(_audit(run, record)),
        key="audit",
        description="What flagging does to each class and group, most lift first",
    )
    create_table_artifact(
        as_cells(_held_out(run, record)),
        key="held-out-suspects",
        description="Test and validation labels that are suspect",
    )
    outcome = {"version": version.facts["version"], "promotion": promotion, "work": work}
    if record.made_by == run.run_id:
        # Of a run that recorded nothing new, whoever recorded it has drawn everything, and the page holds it.
        for chart in charts:
            create_image_artifact(chart.image, key=chart.name, description=chart.markdown())
        _show(gallery(in_lake(run.lake, record.folder), summary.facts, LEAST_SHOWN))
    create_link_artifact(link_to(page), link_text=page.name, key="report", description="What changed, and why")
    verdict = summary.facts["metrics"]["verdict"]["word"]
    describe_asset(run_id=record.made_by, version=version.facts["version"], verdict=verdict, page=link_to(page))
    # Last, for what fails before is done again, and nobody is to be told twice.
    is_current = history.version_of(CURRENT) == version.facts["version"]
    _announce(summary, version, is_current, [stage for stage in stages if stage.made_by == run.run_id], link_to(page))
    run.log({"run_id": record.made_by, "dataset": summary.dataset, "state": "completed"} | outcome)
    # Last: the version is published and told whether or not its bucket takes the page as well.
    stored = _stored(page, history)
    # What was decided otherwise than by the verdict alone.
    restraint = f"\n\n{promotion}" if "--promotion" in promotion else ""
    return f"{summary.text()}{restraint}{stored}\n\n{work}"


def _stored(page: Path, history: History) -> str:
    """A line about the page in a bucket: where it is, or why it is not there."""
    from tasks.report.run_page import keep_in_bucket

    try:
        address = keep_in_bucket(page, history)
    except BadArtefact as error:
        LOGGER.warning("the page is not in the bucket: %s", error)
        return f"\n\nthe page is in the lake alone: {error}"
    return f"\n\nthe page is also at {address}" if address else ""


def _announce(summary: Summary, version: Artefact, is_current: bool, fresh: list[Artefact], page: str) -> None:
    """Tell automations of the verdict: ``gradsieve.verdict.helps``, ``.harms`` or ``.no-evidence``; and of a drift.

    A drift is announced once, by the run that found it. Either leads to the run in the UI and to its page. Promoted is
    what ``current`` names now, whatever the verdict would have had.
    """
    verdict = summary.facts["metrics"]["verdict"]
    payload = {"dataset": summary.dataset, "version": version.facts["version"], "run_id": summary.run_id}
    url = flow_run.ui_url or ""
    # The temporary server of a run has no UI, and an address without a host.
    payload |= {"run_url": url if url.startswith("http") else "no Prefect server", "page_url": page}
    resource = {"prefect.resource.id": f"gradsieve.dataset.{summary.dataset}"}
    emit_event(
        f"{VERDICT}.{verdict['word'].replace(' ', '-')}",
        resource=resource,
        payload=payload | {"sentence": verdict["sentence"], "promoted": is_current},
    )
    for stage in fresh:
        if stage.stage == "drift" and stage.facts["alarm"]:
            emit_event(DRIFT, resource=resource, payload=payload | {"sentence": stage.facts["sentence"]})


def _show(most: Gallery) -> None:
    """The most suspect: their pictures, or, of samples that are none, what stands in their columns.

    As a data URI: the UI then shows it from anywhere, and nobody has to serve files.
    """
    from tasks.report.contact_sheet import contact_sheet

    title = f"The {len(most.suspects)} most suspect samples, given → suggested label"
    if most.are_pictures:
        image = base64.b64encode(contact_sheet(most)).decode()
        about = f"{title}\n\n{most.markdown()}"
        create_image_artifact(f"data:image/png;base64,{image}", key="gallery", description=about)
    else:
        create_markdown_artifact(most.markdown(), key="gallery", description=title)


def _suspects(run: Run, record: Artefact) -> list[dict[str, Any]]:
    """The head of flags.parquet, beside the samples' own columns."""
    from tasks.pipeline.row_groups import first_rows

    folder = in_lake(run.lake, record.folder)
    flags = first_rows(folder / "flags.parquet", SUSPECTS)
    samples = _samples(sorted((folder / "samples").glob("*.parquet")), flags["sample_id"].combine_chunks())
    return [
        {
            "rank": flag["rank"],
            "sample_id": flag["sample_id"],
            "source": f"{samples[flag['sample_id']]['source']}, row {samples[flag['sample_id']]['row']}",
            "label": samples[flag["sample_id"]]["label"],
            "suggested": _suggestion(flag),
            "suspicion": f"{flag['suspicion']:.4g}",
            "flagged": "yes" if flag["flag"] else "no",
            "reason": flag["reason"],
        }
        for flag in flags.to_pylist()
    ]


def _samples(paths: list[Path], ids: pa.Array) -> dict[str, dict[str, Any]]:
    """Where a few samples come from, and their labels; of the others no object is made."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    samples = {}
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["sample_id", "source", "row", "label"]):
                few = batch.filter(pc.is_in(batch["sample_id"], ids))
                samples |= {row["sample_id"]: row for row in few.to_pylist()}
    return samples


def _held_out(run: Run, record: Artefact) -> list[dict[str, Any]]:
    """The suspect rows of examination.parquet, most suspect first within each split."""
    import pyarrow.parquet as pq

    table = pq.read_table(in_lake(run.lake, record.folder) / "examination.parquet")
    columns = ("split", "sample_id", "label", "suggested_label", "p_wrong", "reason")
    rows = table.filter(table["suspect"]).slice(0, SUSPECTS).to_pylist()
    return [{name: row[name] for name in columns} for row in rows]


def _suggestion(flag: dict[str, Any]) -> str:
    chance = "" if flag["p_suggested"] is None else f" (p = {flag['p_suggested']:.2f})"
    return f"{flag['suggested_label'] or ''}{chance}"


def _audit(run: Run, record: Artefact) -> list[dict[str, Any]]:
    """The rows of audit.parquet with the most lift."""
    import pyarrow.parquet as pq

    rows = pq.read_table(in_lake(run.lake, record.folder) / "audit.parquet").to_pylist()
    rows.sort(key=lambda row: (-(row["lift"] or 0), -row["samples"]))
    return [
        {
            "by": row["by"],
            "name": row["name"],
            "flagged": f"{row['flagged']:,} of {row['samples']:,}",
            "share": f"{row['share_flagged']:.1%}",
            "lift": "" if row["lift"] is None else f"{row['lift']:.2f}",
            "kept by a cap": row["capped"],
            "kept as rare": row["protected"],
            "expected wrong": "" if row["expected_wrong"] is None else f"{row['expected_wrong']:,.0f}",
            "most suggested": row["most_suggested"] or "",
        }
        for row in rows[:AUDIT_ROWS]
    ]


def follow(futures: PrefectFutureList[Artefact], label: str) -> list[Artefact]:
    """Wait for mapped tasks while a progress artifact shows how many are done; results in the order of submission.

    Updated from the flow alone: artifact updates from many tasks at once lock Prefect's SQLite database.
    """
    artifact = None
    # A server that begins again fails no run for want of a bar.
    with suppress(httpx.TransportError):
        # Typed as possibly a coroutine; in a synchronous flow it is the id.
        artifact = cast("UUID", create_progress_artifact(0.0, description=label))
    for count, _ in enumerate(as_completed(list(futures)), 1):
        with suppress(httpx.TransportError):
            if artifact is not None:
                update_progress_artifact(artifact, progress=100.0 * count / len(futures))
    return futures.result()
