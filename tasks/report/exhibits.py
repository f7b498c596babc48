"""Where a page finds what it shows: the flags, the training samples as their source has them, and their neighbours."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tasks.dataset.payload import Payload, payload_of
from tasks.dataset.samples import sample_paths
from tasks.pipeline.artefacts import Artefact, Run
from tasks.report.pictures import PIXEL_ART, as_uri, batches_of, open_pictures, picture_columns, shorten
from tasks.report.unusual import Cell, cells_of, show_value

# Letters of a text on a card, and of one to compare with.
_LETTERS, _SHORT = 3000, 240
# Columns of a row without a picture beside a suspect that has one.
_FIRST = 5
# What a larger picture takes, encoded, to say how many there is room for before they are drawn.
_CLOSE_BYTES = 40_000


@dataclass(frozen=True)
class Face:
    """What a person sees of a sample."""

    name: str
    label: str
    picture: str | None = None
    """As a data URI."""
    side: int = 0
    """The longer side of the picture as the source has it, in pixels."""
    texts: tuple[str, ...] = ()
    """Of a text; of a pair both."""
    cells: tuple[Cell, ...] = ()
    """Of a row that has neither: what stands in its columns, the most unusual first."""

    @property
    def is_tiny(self) -> bool:
        """Whether its picture is drawn pixel by pixel."""
        return 0 < self.side <= PIXEL_ART

    def for_comparison(self, columns: set[str]) -> dict[str, Any]:
        """As a page's script shows it beside another one: its picture, its text in short, or some of its columns."""
        facts: dict[str, Any] = {"name": self.name, "label": self.label}
        if self.picture is not None:
            return facts | {"picture": self.picture, "tiny": self.is_tiny}
        if self.texts:
            return facts | {"text": shorten(" / ".join(self.texts), _SHORT)}
        cells = [cell for cell in self.cells if cell.name in columns] or self.cells[:_FIRST]
        return facts | {"cells": {cell.name: cell.value for cell in cells}}


@dataclass(frozen=True)
class Exhibits:
    """The files of a run that a gallery is made of."""

    flags: Path
    samples: tuple[Path, ...]
    """Of the training split."""
    votes: Path | None
    payload: Payload
    labels: tuple[str, ...]
    """That a sample may be given; none where that is free."""

    @classmethod
    def of_run(cls, folder: Path, facts: dict[str, Any]) -> Exhibits:
        """Those of a recorded run, by the facts of its samples."""
        votes = folder / "votes.parquet"
        return cls(
            folder / "flags.parquet",
            tuple(sorted((folder / "samples").glob("train-*.parquet"))),
            votes if votes.exists() else None,
            Payload.model_validate(facts["payload"]),
            _labels_of(facts),
        )

    @classmethod
    def of_stages(cls, run: Run, samples: Artefact, votes: Artefact, flags: Artefact) -> Exhibits:
        """Those of a run that is at work."""
        paths = tuple(sample_paths(run, samples, "train"))
        payload, labels = payload_of(samples), _labels_of(samples.facts)
        return cls(run.path(flags), paths, run.path(votes), payload, labels)

    def faces(self, ids: list[str], longest: int, *, unusual: bool = False) -> dict[str, Face]:
        """sample_id → how it looks; with what is ``unusual`` in a row, for which all rows are read.

        Samples whose picture is missing are told by what a network receives of them.
        """
        looks = self._looks
        texts = list(self.payload.columns) if self.payload.tokens else []
        fields = [] if texts else [name for name in self.payload.columns if name not in looks]
        faces: dict[str, Face] = {}
        rows: list[dict[str, Any]] = []
        for batch in self._batches(ids, ["label", "source", "row", "source_id", *looks, *texts, *fields]):
            pictures = open_pictures(batch, self.payload, looks) if looks else iter([None] * batch.num_rows)
            bare: list[int] = []
            for place, (row, picture) in enumerate(zip(_thin_rows(batch, looks + fields), pictures, strict=True)):
                said = tuple(shorten(str(row[name]), _LETTERS) for name in texts)
                faces[row["sample_id"]] = _with_picture(Face(_name(row), row["label"], texts=said), picture, longest)
                bare += [place] if picture is None else []
            if fields and bare:
                rows += batch.select(["sample_id", *fields]).take(pa.array(bare)).to_pylist()
        for row, cells in zip(rows, self._cells(fields, rows, unusual=unusual), strict=True):
            faces[row["sample_id"]] = replace(faces[row["sample_id"]], cells=tuple(cells))
        return faces

    def _cells(self, fields: list[str], rows: list[dict[str, Any]], *, unusual: bool) -> Iterable[Sequence[Cell]]:
        if unusual and rows:
            return cells_of(self.samples, fields, rows)
        return [[Cell(name, show_value(row[name]), "", 0.0) for name in fields] for row in rows]

    def pictures(self, ids: list[str], longest: int, room: int) -> dict[str, str]:
        """sample_id → its picture, of as many of the first ``ids`` as there is room for."""
        ids = ids[: max(0, room // _CLOSE_BYTES)]
        found: dict[str, str] = {}
        for batch in self._batches(ids, self._looks) if ids else ():
            pictures = open_pictures(batch, self.payload, self._looks)
            for name, picture in zip(batch["sample_id"].to_pylist(), pictures, strict=True):
                if picture is not None:
                    found[name] = as_uri(picture, longest)
        kept: dict[str, str] = {}
        for name in (name for name in ids if name in found):
            room -= len(found[name])
            if room < 0:
                break
            kept[name] = found[name]
        return kept

    @property
    def _looks(self) -> list[str]:
        return picture_columns(self.payload, pq.read_schema(self.samples[0])) if self.samples else []

    def _batches(self, ids: list[str], columns: list[str]) -> Iterator[pa.RecordBatch]:
        present = set(pq.read_schema(self.samples[0]).names) if self.samples else set()
        wanted = dict.fromkeys(["sample_id", *(name for name in columns if name in present)])
        return batches_of(self.samples, ids, list(wanted))


def _thin_rows(batch: pa.RecordBatch, wide: list[str]) -> list[dict[str, Any]]:
    return batch.select([name for name in batch.schema.names if name not in wide]).to_pylist()


def _labels_of(facts: dict[str, Any]) -> tuple[str, ...]:
    return () if facts.get("target") else tuple(facts.get("classes", ()))


def _name(row: dict[str, Any]) -> str:
    if row.get("source_id"):
        return str(row["source_id"])
    return str(row["source"]) if row["row"] is None else f"{row['source']} row {row['row']:,}"


def _with_picture(face: Face, image: Image.Image | None, longest: int) -> Face:
    return face if image is None else replace(face, picture=as_uri(image, longest), side=max(image.size))
