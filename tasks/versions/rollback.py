"""Going back: a new version that holds an earlier one's rows."""

from __future__ import annotations

from tasks.versions.history import CURRENT, History
from tasks.versions.manifest import Manifest


def roll_back(history: History, target: Manifest, by: str, reason: str) -> Manifest:
    """Commit ``target``'s rows again and point ``current`` at them. Nothing is deleted, nothing moves back by itself.

    Asked again, after a kill at any moment or for nothing, it is the version made before that is meant.

    Raises:
        BadArtefact: files of the target are gone or damaged.
    """
    history.check_whole(target)
    current = history.version_of(CURRENT)
    manifest = _made_before(history, target, current)
    if manifest is None:
        facts = target.model_dump(exclude={"version", "number", "dataset", "published", "seal"})
        manifest = history.commit(
            facts | {"kind": "rollback", "parent": current, "rollback_of": target.version, "by": by}
        )
    # The target may have been cleared away while it was committed again.
    history.check_whole(manifest)
    history.move(CURRENT, manifest.version, by, reason)
    return manifest


def _made_before(history: History, target: Manifest, current: str | None) -> Manifest | None:
    """The version by which somebody went back from ``current`` to the target; ``current`` itself, if it is one."""
    rollbacks = (m for m in reversed(history.manifests()) if m.rollback_of == target.version)
    return next((m for m in rollbacks if current in (m.version, m.parent)), None)
