"""What a version is: one small JSON document that names everything by its digest. Nothing else makes a version."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.core.errors import BadArtefact
from tasks.pipeline.artefacts import File
from tasks.versions.seal import Seal, is_unbroken

FILE_NAME = re.compile(r"v(\d{4,})\.json")


class Part(File):
    """One file of ingested samples, all of one split; shared by every version that holds any of them."""

    split: str

    @property
    def path(self) -> str:
        """Where it lies, below the dataset."""
        return f"parts/{self.sha256}.parquet"


class Content(BaseModel):
    """The rows of a version: its parts, and what was decided about some of them. Versions may have the same."""

    model_config = ConfigDict(frozen=True)
    parts: tuple[Part, ...]
    decisions: File
    plain: tuple[File, ...] | None
    """The rows once more as plain Parquet, if they are small enough; parts of which every row stays are linked."""
    classes: tuple[str, ...]
    payload: dict[str, Any]
    target: dict[str, Any] | None = None
    """What the labels say (tasks/dataset/targets); None of classes."""

    @property
    def id(self) -> str:
        """Digest of what decides the rows; whether they stand there in plain decides nothing."""
        said: list[Any] = [[part.sha256 for part in self.parts], self.decisions.sha256, self.classes, self.payload]
        said += [] if self.target is None else [self.target]
        return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def folder(self) -> str:
        """Where its own files lie, below the dataset."""
        return f"contents/{self.id}"

    @property
    def decided(self) -> str:
        """The decisions."""
        return f"{self.folder}/decisions.parquet"

    @property
    def objects(self) -> dict[str, File]:
        """Every object it needs, by its place below the dataset."""
        plain = {f"{self.folder}/data/{file.name}": file for file in self.plain or ()}
        return {part.path: part for part in self.parts} | {self.decided: self.decisions} | plain


class Manifest(BaseModel):
    """A version as it was committed."""

    model_config = ConfigDict(frozen=True)
    version: str
    number: int
    dataset: str
    kind: Literal["ingested", "cleaned", "rollback"]
    parent: str | None
    rollback_of: str | None = None
    published: str
    by: str
    """Who made it: run, or a person's name."""
    run_id: str | None
    code: str
    model: str | None
    """Digest of the networks the gradients were taken of."""
    detectors: tuple[str, ...] = ()
    budget: dict[str, Any] | None = None
    remedy: Literal["remove", "relabel"] | None = None
    verdict: dict[str, Any] | None = None
    config: str | None
    source: str | None
    """Digest of the source files' names and bytes."""
    samples: str
    flags: str | None
    metrics: str | None
    rows: int
    splits: dict[str, int]
    removed: int
    relabelled: int
    members: str
    """Digest of the (sample_id, split, label) of all rows, in the order of the ids."""
    content: str
    parts: tuple[Part, ...]
    decisions: File
    plain: tuple[File, ...] | None
    classes: tuple[str, ...]
    payload: dict[str, Any]
    target: dict[str, Any] | None = None
    seal: Seal | None = None
    """None of a version from before there was a log."""

    @property
    def rows_of(self) -> Content:
        """Its content."""
        return Content(
            parts=self.parts,
            decisions=self.decisions,
            plain=self.plain,
            classes=self.classes,
            payload=self.payload,
            target=self.target,
        )

    @classmethod
    def read(cls, data: bytes, where: str, version: str) -> Manifest:
        """A manifest as it was written under the name of ``version``.

        Raises:
            BadArtefact: it is damaged, was altered, or says that it is another version.
        """
        manifest = cls.parse(data, where, version)
        if not is_unbroken(data):
            raise _bad(where, f"the manifest of {version} as it was sealed", "one that was altered")
        return manifest

    @classmethod
    def parse(cls, data: bytes, where: str, version: str) -> Manifest:
        """The same, whatever its seal says: to look for what was altered."""
        try:
            manifest = cls.model_validate_json(data)
        except ValidationError as error:
            raise _bad(where, "a version's manifest", str(error).replace("\n", " ")[:200]) from error
        # Files are cleared away by what a manifest calls itself.
        if manifest.version != version:
            raise _bad(where, f"the manifest of {version}", f"that of {manifest.version!r}")
        return manifest

    @property
    def file(self) -> str:
        """Its name, below the dataset."""
        return f"{self.version}.json"

    def said(self) -> tuple[Any, ...]:
        """What makes two versions the same: the rows, why, and how far it is proven; of a rollback from where to where.

        A rollback that was made before, and left for another version since, is another one: from another version.
        """
        way = (self.parent, self.rollback_of) if self.kind == "rollback" else ()
        return self.kind, self.content, self.samples, self.flags, self.metrics, *way


def _bad(where: str, expected: str, got: str) -> BadArtefact:
    return BadArtefact(
        where=where, expected=expected, got=got, do="Restore the file from a copy; no other version depends on it."
    )


class Move(BaseModel):
    """One move of a tag."""

    model_config = ConfigDict(frozen=True)
    tag: str
    version: str | None
    at: str
    by: str
    reason: str
