"""Moves of tags as they were kept before there was a log: a file for each, below the tag's own folder."""

from __future__ import annotations

import re

from pydantic import ValidationError

from tasks.core.errors import BadArtefact
from tasks.versions.manifest import Move
from tasks.versions.object_store import Objects

_FILE = re.compile(r"tags/[^/]+/\d{6}\.json")


def early_move_names(objects: Objects, dataset: str) -> list[str]:
    """Where they lie, below the dataset: those of a tag in the order in which they were made."""
    names = (entry.name.removeprefix(f"{dataset}/") for entry in objects.list(f"{dataset}/tags"))
    return [name for name in names if _FILE.fullmatch(name)]


def early_moves(objects: Objects, dataset: str, names: list[str]) -> list[Move]:
    """The moves of these names.

    Raises:
        BadArtefact: one is damaged.
    """
    return [_read(objects, f"{dataset}/{name}") for name in names]


def _read(objects: Objects, name: str) -> Move:
    try:
        return Move.model_validate_json(objects.read(name))
    except ValidationError as error:
        raise BadArtefact(
            where=f"{objects.where}/{name}",
            expected="a move of a tag",
            got=str(error).replace("\n", " ")[:200],
            do="Restore the file from a copy of the store.",
        ) from error
