"""report.html: what a run found, what it was worth, what it changed and how to do it again, on one page."""

from __future__ import annotations

import shlex
from pathlib import Path

from tasks.pipeline.durable_files import write_durably
from tasks.pipeline.stored_names import inside
from tasks.report.figures import Figure
from tasks.report.gallery import MOST, gallery
from tasks.report.summary import Summary
from tasks.report.version_views import as_page
from tasks.versions.difference import difference
from tasks.versions.history import History

# Sections of the summary that the page tells in other ways.
_SECTIONS_ELSEWHERE = ("Published", "Ask")


def run_page(lake: Path, run_id: str, history: History, version: str, charts: list[Figure]) -> str:
    """The page of a recorded run, with its figures, and the version it made."""
    summary = Summary.read(lake, run_id)
    folder, manifest = inside(lake / "runs", run_id, single=True), history.resolve(version)
    parent = history.resolve(manifest.parent) if manifest.parent is not None else manifest
    changes, suspects = difference(history, parent, manifest), gallery(folder, summary.facts, MOST)
    change_of = dict(zip(changes.rows["sample_id"].to_pylist(), changes.rows["change"].to_pylist(), strict=True))
    about = f"--dataset {shlex.quote(history.dataset)}{summary.lake_option}"
    return as_page(
        changes,
        history,
        "report",
        elsewhere={suspect.sample_id for suspect in suspects.suspects},
        verdict=summary.facts["metrics"]["verdict"],
        summary=[(title, lines) for title, lines in summary.sections if title not in _SECTIONS_ELSEWHERE],
        figures=charts,
        gallery=suspects,
        ranks={suspect.sample_id: suspect.rank for suspect in suspects.suspects},
        # Flagged, but the same in the parent: it was decided about then.
        became={
            suspect.sample_id: change_of.get(suspect.sample_id, "decided before" if suspect.flagged else "kept")
            for suspect in suspects.suspects
        },
        missing=summary.command_of(suspects.sql),
        config=(folder / "config.yaml").read_text(encoding="utf-8"),
        code=manifest.code,
        commands=[
            f"gradsieve clean --config run.yaml{summary.lake_option}",
            f"gradsieve versions show {version} {about}",
            f"gradsieve versions diff {parent.version} {version} {about}",
            f"gradsieve versions verify {version} {about}",
            summary.command_of(summary.sql),
        ],
    )


def put_down(lake: Path, run_id: str, history: History, version: str, charts: list[Figure]) -> Path:
    """Write it to ``<lake>/reports/<run_id>.html``, unless it stands there already: a run does not change."""
    path = inside(lake / "reports", f"{run_id}.html", single=True)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_durably(path, run_page(lake, run_id, history, version, charts))
    return path
