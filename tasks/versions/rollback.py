"""Going back: a new version that holds an earlier one's rows."""

from __future__ import annotations

from tasks.versions.history import CURRENT, History
from tasks.versions.manifest import Manifest


def roll_back(history: History, target: Manifest, by: str, reason: str) -> Manifest:
    """Commit ``target``'s rows again and point ``current`` at them. Nothing is deleted, nothing moves back by itself.

    A kill between the two leaves the version without the tag; asked again, it is that version which gets it.

    Raises:
        BadArtefact: files of the target are gone.
    """
    history.check_whole(target)
    current = history.version_of(CURRENT)
    newest = history.newest()
    if newest is not None and newest.rollback_of == target.version and newest.version != current:
        manifest = newest
    else:
        facts = target.model_dump(exclude={"version", "number", "dataset", "published"})
        manifest = history.commit(
            facts | {"kind": "rollback", "parent": current, "rollback_of": target.version, "by": by}
        )
    # The target may have been cleared away while it was committed again.
    history.check_whole(manifest)
    history.move(CURRENT, manifest.version, by, reason)
    return manifest
