"""A version into a table that others keep, by its manifest."""

from __future__ import annotations

import re

from tasks.core.errors import BadConfig
from tasks.versions.contents import rows_of
from tasks.versions.history import History
from tasks.versions.manifest import Manifest
from tasks.versions.seal import sha256
from tasks.versions.store import check_no_credentials
from tasks.versions.table_formats import TABLE_FORMATS, Published, Receipt


def publish_to(history: History, manifest: Manifest, kind: str, at: str) -> Receipt:
    """Make a version the next snapshot of the tables at a place.

    What refers to files of the store instead of copying them keeps the version from being cleared away, by the tag
    ``<kind>-<version>``.

    Args:
        history: of the dataset.
        manifest: of the version.
        kind: of the tables.
        at: where they are.

    Raises:
        BadConfig: the place cannot be used, or holds what is of somebody else.
        BadInput: a column cannot be written without loss.
        BadArtefact: files of the version are missing.
    """
    history.check_whole(manifest)
    if not at.strip():
        raise BadConfig(where="option at", expected="a place", got="nothing", do="Name one with --at.")
    check_no_credentials(at, "option at")
    table_format = TABLE_FORMATS.components[kind](at=at)
    own = re.compile(rf"{kind}-v\d+")
    tags = {tag: version for tag, version in history.tags().items() if not own.fullmatch(tag)}

    def hold() -> None:
        reason = f"tables at {table_format.place} name its files"
        history.move(f"{kind}-{manifest.version}", manifest.version, "gradsieve", reason)

    history.begin()
    with rows_of(history, manifest.rows_of) as rows:
        return table_format.publish(Published(manifest, rows, tags, sha256(history.log.data(1)), hold))
