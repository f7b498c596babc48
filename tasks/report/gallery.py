"""The most suspect samples of a run, as a person looks at them who decides, and others to compare them with."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tasks.core.markdown import as_table, escape
from tasks.pipeline.row_groups import first_rows
from tasks.report.companions import companions_of
from tasks.report.exhibits import Exhibits, Face

MOST = 2000
"""Samples on a page at most."""
PAGE_BYTES = 25 << 20
"""Pictures on a page, encoded: the thumbnails first, then others to compare with, then those of the flagged that are
shown larger on request."""
LEAST_SHOWN = 24
"""Samples of the artifact, and on a page even where fewer are flagged."""
MOST_UNUSUAL = 5
"""Cells of a row that stand on a card; the others follow on request."""

# Longer side of a picture on a card, and of one that is looked at closely.
_CARD, _CLOSE = 320, 1024
# Columns of a row that a Markdown table has room for.
_FIELDS = 12


@dataclass(frozen=True)
class Suspect:
    """One sample of a gallery."""

    rank: int
    sample_id: str
    label: str
    suggested: str
    """The class another label is suggested of; empty where none is."""
    p_wrong: float | None
    suspicion: float
    flagged: bool
    reason: str
    decided_by: str
    """Who decided about it before; empty where nobody did."""
    face: Face
    sure: tuple[str, ...] = ()
    """Samples that surely are of the given class, then of the suggested one."""
    near: tuple[str, ...] = ()
    """Its nearest neighbours among the training samples, the nearest first."""
    close: str | None = None
    """A larger picture of it, as a data URI."""

    @property
    def name(self) -> str:
        """The name of its file or its own name, where the source has one; else its place there."""
        return self.face.name

    @property
    def picture(self) -> str | None:
        """As a data URI."""
        return self.face.picture

    @property
    def pair(self) -> str:
        """Given → suggested label."""
        return f"{self.label} → {self.suggested or '?'}"

    @property
    def why(self) -> str:
        """The first of its reasons, less what stands above it, and how likely its label is wrong."""
        first = self.reason.partition(";")[0]
        given = f"given {self.label} ("
        words = (first.partition("), ")[2] if first.startswith(given) else "") or first
        return words if self.p_wrong is None else f"{words}, wrong with p = {self.p_wrong:.2f}"


@dataclass(frozen=True)
class Gallery:
    """The most suspect training samples, by rank."""

    run_id: str
    suspects: list[Suspect]
    flagged: int
    """In the whole run."""
    companions: dict[str, Face] = field(default_factory=dict)
    """Samples to compare with, by their ids."""
    labels: tuple[str, ...] = ()
    """That a sample may be given; none where that is free."""

    @property
    def missing(self) -> int:
        """Flagged samples that are not in it."""
        return self.flagged - sum(suspect.flagged for suspect in self.suspects)

    @property
    def sql(self) -> str:
        """The query that lists those, whatever their number."""
        last = self.suspects[-1].rank if self.suspects else 0
        return (
            "SELECT rank, sample_id, label, suggested_label, p_wrong, source, source_row, reason FROM suspects "
            f"WHERE flag AND rank > {last} AND run_id = '{self.run_id}' ORDER BY rank"
        )

    @cached_property
    def pairs(self) -> list[tuple[str, int]]:
        """(given → suggested label, how many), the most frequent first."""
        counts = Counter(suspect.pair for suspect in self.suspects)
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    @property
    def are_pictures(self) -> bool:
        """Whether any of them is one."""
        return any(suspect.picture is not None for suspect in self.suspects)

    @property
    def comparison(self) -> dict[str, Any]:
        """Companions and larger pictures as a page's script reads them."""
        columns = {cell.name for suspect in self.suspects for cell in suspect.face.cells[:MOST_UNUSUAL]}
        faces = {name: face.for_comparison(columns) for name, face in self.companions.items()}
        return {"faces": faces, "close": {each.sample_id: each.close for each in self.suspects if each.close}}

    def markdown(self) -> str:
        """As a table with what stands in the samples' columns; of pictures, which say more, the changes in a line."""
        if self.are_pictures:
            changes = (f"{each.rank}. {each.label} → {each.suggested or '?'}" for each in self.suspects)
            return escape("; ".join(changes))
        columns = ("rank", "given", "suggested", "p(wrong)", "flagged", "sample", "sample_id")
        rows = [
            (
                f"{suspect.rank:,}",
                suspect.label,
                suspect.suggested,
                "" if suspect.p_wrong is None else f"{suspect.p_wrong:.3f}",
                "yes" if suspect.flagged else "no",
                "; ".join(
                    [*suspect.face.texts, *(f"{cell.name} {cell.value}" for cell in suspect.face.cells[:_FIELDS])]
                ),
                suspect.sample_id,
            )
            for suspect in self.suspects
        ]
        return as_table(columns, rows)


def gallery(folder: Path, facts: dict[str, Any], most: int) -> Gallery:
    """The most suspect of a recorded run, down to the last flagged one: at least ``LEAST_SHOWN``, at most ``most``.

    Args:
        folder: of the run.
        facts: of its run.json.
        most: samples in it.
    """
    return gallery_of(Exhibits.of_run(folder, facts["samples"]), folder.name, most)


def gallery_of(exhibits: Exhibits, run_id: str, most: int, *, compare: bool = False) -> Gallery:
    """The gallery of some flags, with companions and larger pictures where it is to ``compare``."""
    flagged = np.flatnonzero(pq.read_table(exhibits.flags, columns=["flag"])["flag"].to_numpy())
    shown = min(most, max(LEAST_SHOWN, int(flagged[-1]) + 1 if len(flagged) else 0))
    head = first_rows(exhibits.flags, shown).to_pylist()
    faces = exhibits.faces([flag["sample_id"] for flag in head], _CARD, unusual=True)
    suspects = [
        Suspect(
            suggested=flag["suggested_label"] or "",
            flagged=flag["flag"],
            decided_by=flag["decided_by"] or "",
            face=faces[flag["sample_id"]],
            label=faces[flag["sample_id"]].label,
            **{name: flag[name] for name in ("rank", "sample_id", "p_wrong", "suspicion", "reason")},
        )
        for flag in head
    ]
    suspects = _within(suspects, PAGE_BYTES)
    result = Gallery(run_id, suspects, len(flagged), labels=exhibits.labels)
    return _with_companions(result, exhibits) if compare else result


def _within(suspects: list[Suspect], room: int) -> list[Suspect]:
    """The first that take no more room than there is."""
    sizes = np.cumsum([len(suspect.picture or "") for suspect in suspects])
    return suspects[: int(np.searchsorted(sizes, room, side="right"))]


def _with_companions(shown: Gallery, exhibits: Exhibits) -> Gallery:
    """With samples to compare with, and, in the room that these leave, larger pictures of the most suspect."""
    room = PAGE_BYTES - sum(len(suspect.picture or "") for suspect in shown.suspects)
    sure, near, faces = companions_of(exhibits, [(s.sample_id, s.label, s.suggested) for s in shown.suspects], room)
    room -= sum(len(face.picture or "") for face in faces.values())
    larger = [s.sample_id for s in shown.suspects if s.flagged and s.face.side > _CARD]
    close = exhibits.pictures(larger, _CLOSE, room)
    suspects = [
        replace(each, sure=sure[each.sample_id], near=near[each.sample_id], close=close.get(each.sample_id))
        for each in shown.suspects
    ]
    return replace(shown, suspects=suspects, companions=faces)
