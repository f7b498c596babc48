"""Clearing old versions away: never a tagged one, never the newest, and nothing that another version still needs."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.core.errors import BadArtefact
from tasks.pipeline.durable_files import remove, unfinished
from tasks.pipeline.recorded_run import RUN_FILE, RecordedRun
from tasks.pipeline.stored_names import inside
from tasks.versions.history import History
from tasks.versions.log import Removed
from tasks.versions.manifest import Manifest
from tasks.versions.object_store import StoredObject

# Of a run whose versions are all gone: what is large. Scores, flags and metrics stay, for SQL.
LARGE = ("checkpoints/*", "gradients/*.arrow", "canaries/*")
_LEAST_HOURS = 1.0


@dataclass(frozen=True)
class Clearance:
    """What would go."""

    versions: list[Manifest] = field(default_factory=list)
    objects: list[StoredObject] = field(default_factory=list)
    """Parts and contents no version that stays needs."""
    files: list[Path] = field(default_factory=list)
    """Gradients and checkpoints of the dropped versions' runs, in the run folders and in the cache."""
    unfinished: list[Path] = field(default_factory=list)
    """What killed processes of any machine left half-written, in the store and in the lake."""
    size: int = 0
    """Bytes that are freed; a file that lies in a run folder and in the cache counts once."""


def clearance(history: History, lake: Path, keep: int, grace_hours: float, told: Collection[Path] = ()) -> Clearance:
    """What to clear away of one dataset, if the newest ``keep`` versions stay.

    What stays besides: versions a tag points at, and the versions they and the newest come from (their parents, and
    what a rollback went back to). Objects younger than ``grace_hours`` stay too: a run may be about to name them.

    Args:
        history: of the dataset.
        lake: with the runs.
        keep: at least 1.
        grace_hours: of objects that no version names.
        told: what of the lake was said of another dataset already: what is half-written there is every dataset's.

    Raises:
        BadArtefact: a manifest or a run.json names what lies elsewhere; nothing is cleared away then.
    """
    manifests = history.manifests()
    names = _with_origins(manifests, {m.version for m in manifests[-keep:]} | set(history.tags().values()))
    obsolete = [m for m in manifests if m.version not in names]
    remaining = [m for m in manifests if m.version in names]
    objects, files = _objects_without_version(history, remaining, grace_hours), _of_runs(lake, obsolete, remaining)
    partial = [path for path in _unfinished(history, lake, grace_hours) if path not in told]
    return Clearance(obsolete, objects, files, partial, _size(objects, [*files, *partial]))


def _unfinished(history: History, lake: Path, grace_hours: float) -> list[Path]:
    """What was written aside and left; whoever writes on another machine has an hour from one file to the next."""
    before = datetime.now(UTC) - timedelta(hours=max(grace_hours, _LEAST_HOURS))
    store = unfinished(history.objects.folder, before) if history.objects.local else []
    return sorted({*store, *unfinished(lake, before)})


def _size(objects: list[StoredObject], files: list[Path]) -> int:
    sizes: dict[int, int] = {}
    for there in (there for path in files for there in (path, *path.rglob("*")) if there.is_file()):
        with suppress(FileNotFoundError):  # gone meanwhile
            status = there.stat()
            sizes[status.st_ino] = status.st_size
    return sum(entry.size for entry in objects) + sum(sizes.values())


def _with_origins(manifests: list[Manifest], versions: set[str]) -> set[str]:
    """``versions``, and those they were made of."""
    origins = {name for m in manifests if m.version in versions for name in (m.parent, m.rollback_of) if name}
    return versions | origins


def _objects_without_version(history: History, manifests: list[Manifest], grace_hours: float) -> list[StoredObject]:
    names = {f"{history.dataset}/{name}" for manifest in manifests for name in manifest.rows_of.objects}
    before = datetime.now(UTC) - timedelta(hours=grace_hours)
    there = [*history.objects.list(f"{history.dataset}/parts"), *history.objects.list(f"{history.dataset}/contents")]
    return [entry for entry in there if entry.name not in names and entry.modified < before]


def _of_runs(lake: Path, obsolete: list[Manifest], remaining: list[Manifest]) -> list[Path]:
    """Large files of runs that made nothing but dropped versions, and the cache's names for the same files."""
    runs = {m.run_id for m in obsolete if m.run_id} - {m.run_id for m in remaining}
    folders = [inside(lake / "runs", run, single=True) for run in sorted(runs)]
    files = [path for folder in folders for path in _large(folder)]
    still = {
        folder for record in RecordedRun.all_of(lake) if record.run_id not in runs for folder in _cache_folders(record)
    }
    for path in (folder / RUN_FILE for folder in folders):
        for folder_name in sorted(set(_cache_folders(RecordedRun.of_file(path))) - still) if path.is_file() else []:
            # A run's stages lie in the cache: what is named elsewhere is no less another's than what lies outside.
            files += _large(inside(lake / "cache", folder_name.removeprefix("cache/"), single=True))
    return files


def _large(folder: Path) -> list[Path]:
    """Large files of a folder, none that a link leads to."""
    paths = [path for pattern in LARGE for path in sorted(folder.glob(pattern))]
    return [inside(folder, str(path.relative_to(folder))) for path in paths]


def _document(history: History, manifest: Manifest) -> bytes | None:
    """A manifest's bytes; None if it has been cleared away since."""
    try:
        return history.data(manifest.number)
    except BadArtefact:
        if manifest.number in history.numbers():
            raise
        return None


def _cache_folders(record: RecordedRun) -> list[str]:
    """Cache folders a run was put together from."""
    return [stage.folder for stage in record.stages]


def clear(history: History, lake: Path, plan: Clearance) -> Clearance:
    """Do it; what has really gone.

    What was found is looked at again: a version that was tagged since stays, with all it needs. The runs' files go
    first, for nothing names them once their versions are gone; then the manifests, so that no version is ever seen
    without its rows, and of which the log keeps the digests; then the rows. A kill in between leaves what the next
    vacuum finds.
    """
    history.begin()
    manifests = history.manifests()
    names_to_keep = _with_origins(manifests, set(history.tags().values()))
    obsolete = [m for m in plan.versions if m.version not in names_to_keep]
    names = {m.version for m in obsolete}
    still = set(_of_runs(lake, obsolete, [m for m in manifests if m.version not in names]))
    files = [path for path in plan.files if path in still]
    size = _size([], [*files, *plan.unfinished])
    for path in (*files, *plan.unfinished):
        remove(path)
    # Another one may be clearing away beside: what it has taken is not ours to note.
    documents = {m.version: data for m in obsolete if (data := _document(history, m)) is not None}
    # What is left of them, before they go: a kill in between leaves versions that are there, and a link that says more.
    if documents:
        removed = [Removed.of(version, data) for version, data in documents.items()]
        link = {"kind": "removed", "by": "vacuum", "reason": "cleared away", "removed": removed}
        history.log.append(history.newest_name(), lambda _: link)
    history.objects.delete([f"{history.dataset}/{version}.json" for version in documents])
    # Tagged in the very moment: whoever tags looks for the version last, and finds it again.
    current_targets = set(history.tags().values())
    for version in documents.keys() & current_targets:
        history.put(version, documents[version])
    objects_in_use = {f"{history.dataset}/{name}" for m in history.manifests() for name in m.rows_of.objects}
    objects = [entry for entry in plan.objects if entry.name not in objects_in_use]
    history.objects.delete([entry.name for entry in objects])
    gone = [m for m in obsolete if m.version in documents.keys() - current_targets]
    return Clearance(gone, objects, files, plan.unfinished, size + _size(objects, []))
