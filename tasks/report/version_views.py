"""Versions and their differences as a person reads them: on a terminal, and as a page."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tasks.core.errors import BadArtefact, printable
from tasks.pipeline.stored_names import inside
from tasks.report.pictures import pictures, texts
from tasks.report.templates import page
from tasks.versions.address import remembered
from tasks.versions.contents import rows_of
from tasks.versions.difference import Difference
from tasks.versions.history import History
from tasks.versions.manifest import Manifest
from tasks.versions.object_store import Objects

# Cards of each kind of change on a page.
_CARDS = 300


def version_list(manifests: list[Manifest], tags: dict[str, str]) -> Table:
    """Versions, newest first."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in (
        "dataset",
        "version",
        "tags",
        "made",
        "parent",
        "rows",
        "removed",
        "relabelled",
        "verdict",
        "published",
    ):
        table.add_column(name, justify="right" if name in ("rows", "removed", "relabelled") else "left")
    for m in reversed(manifests):
        cells = (
            m.dataset,
            m.version,
            ", ".join(sorted(tag for tag, version in tags.items() if version == m.version)),
            m.kind if m.rollback_of is None else f"back to {m.rollback_of}",
            m.parent or "",
            f"{m.rows:,}",
            f"{m.removed:,}",
            f"{m.relabelled:,}",
            _word(m),
            m.published[:19],
        )
        table.add_row(*map(_cell, cells))
    return table


def version_facts(m: Manifest, tags: dict[str, str], history: History) -> Table:
    """All a version knows of itself."""
    verdict = m.verdict or {}
    facts: dict[str, Any] = {
        "dataset": m.dataset,
        "version": m.version,
        "tags": ", ".join(sorted(tag for tag, version in tags.items() if version == m.version)) or "none",
        "made": m.kind if m.rollback_of is None else f"{m.kind} to {m.rollback_of}",
        "parent": m.parent or "none",
        "published": f"{m.published} by {m.by}",
        "rows": f"{m.rows:,} ({', '.join(f'{number:,} {split}' for split, number in m.splits.items())})",
        "removed": f"{m.removed:,}",
        "relabelled": f"{m.relabelled:,}",
        "verdict": _word(m) or "none",
        "because": "\n".join(verdict.get("because", [])) or "nothing was verified",
        "run": m.run_id or "none",
        "detectors": ", ".join(m.detectors) or "none",
        "budget": ", ".join(_figure(name, value) for name, value in (m.budget or {}).items() if value is not None)
        or "none",
        "code": m.code,
        "model": m.model or "none",
        "members": m.members,
        "files": _where(m, history),
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, _cell(str(value)))
    return table


def _cell(text: str, style: str = "") -> Text:
    """A text of somebody else's for a terminal: as it is, without what a terminal would obey."""
    return Text(printable(text), style=style)


def _figure(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"{name} {value['value']:.1%} [{value['low']:.1%}, {value['high']:.1%}]"
    return f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"


def _where(m: Manifest, history: History) -> str:
    home = f"{history.objects.where}/{m.dataset}"
    rows = f"{home}/{m.rows_of.folder}/data" if m.plain is not None else f"{len(m.parts):,} parts in {home}/parts"
    return f"{rows}\n{home}/{m.rows_of.decided}"


def _word(m: Manifest) -> str:
    return str((m.verdict or {}).get("word", ""))


def publication_lines(lake: Path, dataset: str, run_id: str) -> list[str]:
    """Lines of a summary: the version a run made, and where the tags are now."""
    history = History(Objects(lake / "versions"), dataset)
    manifest = next((m for m in reversed(history.manifests()) if m.run_id == run_id and m.kind == "cleaned"), None)
    tags = ", ".join(f"{tag} is {version}" for tag, version in sorted(history.tags().items())) or "no tags"
    if manifest is None:
        return ["no version of its own: an earlier run has published the same, or the version has been deleted", tags]
    changes = f"{manifest.removed:,} removed" + (f", {manifest.relabelled:,} relabelled" if manifest.relabelled else "")
    lines = [
        f"{dataset} {manifest.version}: {manifest.rows:,} samples, {changes}, parent {manifest.parent}",
        tags,
    ]
    try:
        address = remembered(lake, dataset)
        lines += [f"in {address}, folder {dataset}"] if address else []
    except BadArtefact as error:
        # What the lake shows of them is there all the same.
        lines.append(str(error))
    rows = Path(history.objects.where) / dataset / manifest.rows_of.folder / "data"
    page = inside(lake / "reports", f"{run_id}.html", single=True)
    return [*lines, *(str(path) for path in (rows, page) if path.exists())]


def difference_view(difference: Difference, rows: int) -> RenderableType:
    """A difference on a terminal: what changed, and the first ``rows`` of each kind with their reasons."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("change", "sample", "source", "label", "reason"):
        table.add_column(name, overflow="fold")
    counts = dict(difference.counts)
    for change in counts:
        for row in difference.rows_of(change).slice(0, rows).to_pylist():
            where = f"{row['source']}, row {row['row']}" if row["source"] else ""
            cells = (change, row["sample_id"][:12], where, _label(row), row["reason"])
            table.add_row(*map(_cell, cells))
    more = [f"{count - rows:,} more {change}" for change, count in counts.items() if count > rows]
    parts: list[RenderableType] = [_cell(difference.title, "bold")]
    if difference.counts:
        parts += [Text(""), table]
    if more:
        parts += [Text(f"\nand {', '.join(more)}: --rows, or --output FILE.parquet for all", style="dim")]
    return Group(*parts)


def _label(row: dict[str, Any]) -> str:
    old, new = row["old_label"], row["new_label"]
    return f"{old} → {new}" if old is not None and new is not None and old != new else str(old if new is None else new)


class Section(NamedTuple):
    """The rows of one kind of change on a page."""

    change: str
    number: int
    """Of all of them."""
    cards: list[dict[str, Any]]
    elsewhere: list[str]
    """Samples the page shows in another place."""

    @property
    def more(self) -> int:
        """Those it does not show."""
        return self.number - len(self.cards) - len(self.elsewhere)


def as_page(
    difference: Difference, history: History, name: str = "difference", elsewhere: Collection[str] = (), **more: Any
) -> str:
    """A difference as one self-contained HTML page, with pictures where the samples are images, and texts
    where they are text.

    Args:
        difference: two versions.
        history: the versions are of.
        name: of the template, ``difference`` or one that extends it.
        elsewhere: samples which that one shows itself.
        more: what that one shows besides.
    """
    sections, ids, there = [], [], pa.array(list(elsewhere), pa.string())
    for change, number in difference.counts.items():
        of_it = difference.rows_of(change)
        is_there = pc.is_in(of_it["sample_id"], value_set=there)
        cards = of_it.filter(pc.invert(is_there)).slice(0, _CARDS).to_pylist()
        ids += [row["sample_id"] for row in cards]
        sections.append(Section(change, number, cards, of_it["sample_id"].filter(is_there).to_pylist()))
    images: dict[str, str] = {}
    read: dict[str, list[str]] = {}
    for manifest in (difference.a, difference.b):
        missing = [name for name in ids if name not in images and name not in read]
        if missing:
            with rows_of(history, manifest.rows_of) as content:
                images |= pictures(content, missing)
                read |= texts(content, missing)
    for row in (row for section in sections for row in section.cards):
        row["picture"], row["texts"] = images.get(row["sample_id"]), read.get(row["sample_id"], [])
    facts = [
        (name, say(difference.a), say(difference.b))
        for name, say in {
            "version": lambda m: m.version,
            "made": lambda m: m.kind,
            "published": lambda m: m.published[:19],
            "rows": lambda m: f"{m.rows:,}",
            "removed": lambda m: f"{m.removed:,}",
            "relabelled": lambda m: f"{m.relabelled:,}",
            "verdict": lambda m: _word(m) or "none",
            "run": lambda m: m.run_id or "none",
        }.items()
    ]
    labels = {row["old_label"] or row["new_label"] for section in sections for row in section.cards}
    values = {
        "title": difference.title,
        "facts": facts,
        "sections": sections,
        "labels": sorted(labels),
        "command": f"gradsieve versions diff {difference.a.version} {difference.b.version} --output changes.parquet",
        "said": [] if more else (difference.b.verdict or {}).get("because", []),
        "b": difference.b.version,
    }
    return page(name, **values, **more)
