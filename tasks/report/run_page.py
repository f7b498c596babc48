"""report.html: what a run flagged, to be decided about, what that was worth, what it changed, and how to do it again.

The page is drawn twice: for a run that waits for a person, without a verdict, and at the end.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.pipeline.artefacts import Run
from tasks.pipeline.durable_files import write_durably
from tasks.pipeline.page_link import page_path
from tasks.pipeline.recorded_run import lake_option
from tasks.pipeline.stored_names import inside
from tasks.report.copies_section import shown_copies
from tasks.report.exhibits import Exhibits
from tasks.report.figure import Figure
from tasks.report.gallery import MOST, MOST_UNUSUAL, Gallery, gallery_of
from tasks.report.summary import Summary
from tasks.report.templates import page
from tasks.report.version_views import as_page
from tasks.versions.difference import difference
from tasks.versions.history import History

# Sections of the summary that the page tells in other ways.
_SECTIONS_ELSEWHERE = ("Published", "Ask")
# Stands in the head of a page without a verdict.
_QUESTION = '<meta name="gradsieve" content="question">'
_HEAD = 2000


def run_page(lake: Path, run_id: str, history: History, version: str, charts: list[Figure]) -> str:
    """The page of a recorded run, with its figures, and the version it made."""
    summary = Summary.read(lake, run_id)
    folder, manifest = inside(lake / "runs", run_id, single=True), history.resolve(version)
    parent = history.resolve(manifest.parent) if manifest.parent is not None else manifest
    changes = difference(history, parent, manifest)
    shown = gallery_of(Exhibits.of_run(folder, summary.facts["samples"]), run_id, MOST, compare=True)
    names = pa.array([suspect.sample_id for suspect in shown.suspects], pa.string())
    of_shown = changes.rows.filter(pc.is_in(changes.rows["sample_id"], value_set=names))
    change_of = dict(zip(of_shown["sample_id"].to_pylist(), of_shown["change"].to_pylist(), strict=True))
    about = f"--dataset {shlex.quote(history.dataset)}{summary.lake_option}"
    verdict = summary.facts["metrics"]["verdict"]
    return as_page(
        changes,
        history,
        "report",
        elsewhere=names.to_pylist(),
        verdict=verdict,
        remedy="removed" if verdict["arm"] == "cleaned" else "relabelled",
        summary=[(title, lines) for title, lines in summary.sections if title not in _SECTIONS_ELSEWHERE],
        figures=charts,
        copies=shown_copies(folder, summary.facts["samples"]),
        **_of_gallery(shown, lake),
        # Flagged, but the same in the parent: it was decided about then.
        became={
            suspect.sample_id: change_of.get(suspect.sample_id, "decided before" if suspect.flagged else "kept")
            for suspect in shown.suspects
        },
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


def question_page(lake: Path, dataset: str, shown: Gallery, lines: list[str], remedy: str) -> str:
    """The page of a run that waits: what it flagged, and no verdict.

    Args:
        lake: of the run.
        dataset: it is of.
        shown: what is flagged.
        lines: about it, in words.
        remedy: what becomes of the flagged, removed or relabelled.
    """
    return page(
        "report",
        title=f"{dataset}: {shown.flagged:,} flagged",
        **{name: [] for name in ("facts", "sections", "labels", "said", "figures")},
        b="",
        command="",
        verdict=None,
        remedy=remedy,
        summary=[("Flagged", lines)],
        copies={"pairs": [], "count": 0},
        **_of_gallery(shown, lake),
        became={suspect.sample_id: "" if suspect.flagged else "not flagged" for suspect in shown.suspects},
        config=None,
        **dict.fromkeys(("code", "commands")),
    )


def _of_gallery(shown: Gallery, lake: Path) -> dict[str, Any]:
    """What a page says of its gallery."""
    sheet = f"~/Downloads/{shown.run_id}-review.csv"
    return {
        "gallery": shown,
        "most_unusual": MOST_UNUSUAL,
        "ranks": {suspect.sample_id: suspect.rank for suspect in shown.suspects},
        "missing": f'gradsieve sql{lake_option(lake)} "{shown.sql}"',
        "hand_in": f"gradsieve review {shown.run_id} rows --sheet {sheet}{lake_option(lake)}",
    }


def put_down(lake: Path, run_id: str, history: History, version: str, charts: list[Figure]) -> Path:
    """Write the page of a recorded run, unless it stands there already: a run does not change.

    In place of the page that it waited with.
    """
    path = page_path(lake, run_id)
    if not path.exists() or _is_question(path):
        path.parent.mkdir(exist_ok=True)
        write_durably(path, run_page(lake, run_id, history, version, charts))
    return path


def keep_in_bucket(page: Path, history: History) -> str | None:
    """Put a page beside the versions of its dataset, if those are in a bucket: who has no access to the lake sees it.

    Returns:
        Its address, ``<store>/<dataset>/pages/<run_id>.html``; None where versions are in a folder.

    Raises:
        BadArtefact: the bucket does not take it.
    """
    if history.objects.local:
        return None
    name = f"{history.dataset}/pages/{page.name}"
    history.objects.keep(name, page)
    return f"{history.objects.where.rstrip('/')}/{name}"


def put_question_down(run: Run, dataset: str, shown: Gallery, lines: list[str], remedy: str) -> Path:
    """Write the page of a run that waits."""
    path = page_path(run.lake, run.run_id)
    path.parent.mkdir(exist_ok=True)
    write_durably(path, question_page(run.lake, dataset, shown, lines, remedy))
    return path


def _is_question(path: Path) -> bool:
    with path.open(encoding="utf-8") as file:
        return _QUESTION in file.read(_HEAD)
