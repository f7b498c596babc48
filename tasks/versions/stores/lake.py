"""Versions in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tasks.versions.stores import Store

if TYPE_CHECKING:
    from tasks.versions.object_store import Objects


class LakeStore(Store):
    """A folder, ``<lake>/versions`` unless told otherwise."""

    kind: Literal["lake"] = "lake"
    folder: Path | None = Field(default=None, description="Where, if not in the lake.")

    def objects(self, lake: Path) -> Objects:
        """The folder, made if need be."""
        from tasks.versions.object_store import Objects

        return Objects(self.folder or lake / "versions")
