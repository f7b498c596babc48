"""Stores: where the bytes of dataset versions lie. To add one, add a file here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tasks.core.plugins import Choice, Component, Registry

if TYPE_CHECKING:
    from tasks.versions.object_store import Objects


class Store(Component):
    """Base of all stores. What a version is and how it is committed is the same in all of them (tasks/versions)."""

    kind: Any
    plain_mib: int = Field(
        default=256,
        ge=0,
        description="Versions up to this size also hold their rows as plain Parquet, for readers without gradsieve; "
        "files of which every row is kept take no room twice.",
    )

    def objects(self, lake: Path) -> Objects:
        """The place itself, with a folder for each dataset.

        Raises:
            BadConfig: there is no such place.
        """
        raise TypeError(f"{type(self).__name__} must define objects()")


STORES: Registry[Store] = Registry(__name__, Store)


class StoreChoice(Choice[Store], family=STORES):
    """Where versions are published."""

    kind: str = Field(
        default="lake", description="lake: a folder, the lake's own unless told otherwise; bucket: an object store."
    )
