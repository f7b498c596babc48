"""What the lake shows of versions that lie elsewhere, for SQL and for summaries.

Manifests, decisions and tags are copied. The parts of versions that a run of this lake made are its own samples under
another name, and take no room. Parts from elsewhere are brought when somebody asks for them (``bring``), once.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import NamedTuple

from tasks.core.errors import BadArtefact, BadConfig, GradsieveError
from tasks.core.progress import LOGGER
from tasks.pipeline.recorded_run import RUN_FILE, RecordedRun
from tasks.pipeline.stored_names import inside, is_name
from tasks.pipeline.verified_files import has_content
from tasks.versions.address import follow, is_remembered, remember
from tasks.versions.contents import checked
from tasks.versions.history import CURRENT, History, datasets
from tasks.versions.manifest import Manifest
from tasks.versions.object_store import Objects
from tasks.versions.seal import is_unbroken

# In this order: what a manifest names is there before it is.
_PATTERNS = (r"contents/[0-9a-f]+/decisions\.parquet", r"v\d{4,}\.json", r"tags/[^/]+/\d{6}\.json", r"log/\d{6}\.json")
_PART = r"parts/[0-9a-f]+\.parquet"


class Refreshed(NamedTuple):
    """What came of asking every store that a lake remembers."""

    changes: int
    """Objects that were copied, or are gone."""
    silent: list[str]
    """Sentences about stores that did not answer: what the lake shows of them is what it last saw."""


def mirror_of(history: History, lake: Path) -> History | None:
    """The lake's own copy of a history; None where the versions lie in the lake themselves."""
    mirror = History(Objects(lake / "versions"), history.dataset)
    return None if mirror.objects.where == history.objects.where else mirror


def check(history: History, lake: Path) -> None:
    """Refuse to mix two histories under one name, and to take the lake's own versions for an old copy; deletes nothing.

    Raises:
        BadConfig: the lake shows a version of this dataset that is another one where it is published now, or is not
            there.
    """
    mirror = mirror_of(history, lake)
    if mirror is None or not mirror.numbers() or _is_copy(mirror, history, lake):
        return
    folder = mirror.objects.folder / mirror.dataset
    names = "Name the store they were published in, or another dataset with --dataset, or another lake with --lake."
    copies = f" If what is there is right, delete {folder}, the lake's copy."
    raise BadConfig(
        where=f"store {history.objects.where}",
        expected=f"the versions of {history.dataset} that the lake shows",
        got="others, or not all of them" if history.numbers() else "none",
        do=names + copies if is_remembered(lake, mirror.dataset) else names,
    )


def shows(history: History, lake: Path) -> bool:
    """Whether the lake shows this history: its own, or one that it has a copy of."""
    if not (lake / "versions" / history.dataset).is_dir():
        return False
    mirror = mirror_of(history, lake)
    return mirror is None or (bool(mirror.numbers()) and _is_copy(mirror, history, lake))


def _is_copy(mirror: History, history: History, lake: Path) -> bool:
    """Whether a history goes on from what the lake shows: all that it lacks has been cleared away there.

    Neither the newest version nor the log is ever cleared away. Of a copy for sure, which is one that the lake
    remembers the store of, the log does not count: what a person mended in the store holds. Versions of 0.6 may be a
    copy as well.
    """
    damaged = _damaged(mirror)
    is_copy_for_sure = is_remembered(lake, mirror.dataset)
    # The copy first, for what is published a moment later is not lacking.
    numbers, links = mirror.numbers(), mirror.log.numbers()
    shown = [number for number in numbers if f"{mirror.dataset}/v{number:04d}.json" not in damaged]
    theirs = history.numbers()
    if numbers[-1] > max(theirs, default=0) or not (is_copy_for_sure or _has_link(history, mirror, links[-1:])):
        return False
    # A copy of which nothing is whole is copied again; what may be the lake's own is not.
    return _same(history, mirror, set(theirs) & set(shown)) if shown else is_copy_for_sure


def _has_link(history: History, mirror: History, last: list[int]) -> bool:
    """Whether a history has the last link of the log that the lake shows; without a log there is nothing to have."""
    if not last:
        return True
    if last[0] not in history.log.numbers():
        return False
    link = history.log.link(last[0])
    return mirror.log.link(last[0]) in (link, link.model_copy(update={"seal": None}))


def _same(history: History, mirror: History, common: set[int]) -> bool:
    """Whether one is a copy of the other, also of a time whose versions have all been cleared away since."""
    if common:
        version, shown = history.manifest(max(common)), mirror.manifest(max(common))
        # A copy that has lost its seal is a damaged one of the same version, and is copied again.
        return shown in (version, version.model_copy(update={"seal": None}))
    first = history.moves(CURRENT)[:1]
    return bool(first) and first == mirror.moves(CURRENT)[:1]


def mirror_now(history: History, lake: Path) -> int:
    """Bring the lake's copy up to date, and remember of what it is one; how many objects were copied or are gone.

    Raises:
        BadConfig: what the lake has is no copy of this history.
    """
    mirror = mirror_of(history, lake)
    if mirror is None:
        return 0
    check(history, lake)
    _drop(mirror, _damaged(mirror))
    sizes = {entry.name: entry.size for entry in mirror.objects.list(history.dataset)}
    theirs = {entry.name: entry.size for entry in history.objects.list(history.dataset)}
    other = [name for name in _matches(set(sizes), history, _PATTERNS) if theirs.get(name, sizes[name]) != sizes[name]]
    _drop(mirror, other)
    ours = sizes.keys() - set(other)
    missing = [name for name in _matches(set(theirs), history, _PATTERNS) if name not in ours]
    obsolete = [name for name in _matches(ours, history, tuple(reversed(_PATTERNS))) if name not in theirs]
    with tempfile.TemporaryDirectory(prefix="gradsieve-") as scratch:
        for name in missing:
            try:
                if name.endswith(".json"):
                    mirror.objects.create(name, history.objects.read(name))
                else:
                    mirror.objects.keep(name, history.objects.file(name, Path(scratch)))
            except BadArtefact:
                # Cleared away since it was listed, its manifest before its decisions: neither is to be shown.
                if history.objects.size(name) is not None:
                    raise
    mirror.objects.delete(obsolete)
    # A part that a version needs is kept, also where its store has lost it: it may be the last one.
    needed = {f"{mirror.dataset}/{part.path}" for manifest in mirror.manifests() for part in manifest.parts}
    spare = [name for name in _matches(ours - needed, history, (_PART,)) if name not in theirs]
    mirror.objects.delete(spare)
    remember(lake, history.dataset, history.objects)
    _link_parts(mirror, lake, ours)
    return len(missing) + len(obsolete) + len(spare)


def _damaged(mirror: History) -> list[str]:
    """What is not as it was written of a lake's copy."""
    home = f"{mirror.dataset}/"
    names = [entry.name for entry in mirror.objects.list(mirror.dataset) if entry.name.endswith(".json")]
    documents = _matches(set(names), mirror, _PATTERNS)
    damaged = [name for name in documents if not is_unbroken(mirror.objects.read(name))]
    for number in (number for number in mirror.numbers() if f"{home}v{number:04d}.json" not in damaged):
        try:
            content = mirror.manifest(number).rows_of
        except BadArtefact:
            damaged.append(f"{home}v{number:04d}.json")
            continue
        name = f"{home}{content.decided}"
        if mirror.objects.size(name) is not None and not mirror.objects.has(name, content.decisions.sha256):
            damaged.append(name)
    return damaged


def _drop(mirror: History, damaged: list[str]) -> None:
    for name in damaged:
        LOGGER.warning("damaged, and therefore copied again: %s/%s", mirror.objects.where, name)
    mirror.objects.delete(damaged)


def refresh(lake: Path) -> Refreshed:
    """Ask the stores of all datasets whose versions lie elsewhere, and bring the lake's copies up to date."""
    changes, silent = 0, []
    if (lake / "versions").is_dir():
        folder = Objects(lake / "versions")
        for dataset in datasets(folder):
            try:
                # Another place that answers to the same address takes nothing away.
                changes += mirror_now(History(follow(folder, dataset), dataset), lake)
            except (GradsieveError, OSError) as error:
                silent.append(f"{dataset}: its store cannot be asked, this is what the lake last saw of it. {error}")
    return Refreshed(changes, silent)


def bring(history: History, lake: Path, manifest: Manifest) -> int:
    """Copy the parts of a version into the lake, for SQL; how many bytes were not there yet.

    They stay until the store has cleared them away, so that no version that shares them needs them again.
    """
    mirror = mirror_of(history, lake)
    if mirror is None:
        return 0
    with tempfile.TemporaryDirectory(prefix="gradsieve-", dir=lake) as scratch:
        return sum(
            mirror.objects.keep(name, checked(history.objects.file(name, Path(scratch)), sha256), sha256)
            for name, sha256 in {f"{history.dataset}/{part.path}": part.sha256 for part in manifest.parts}.items()
            if mirror.objects.size(name) is None
        )


def _link_parts(mirror: History, lake: Path, ours: set[str]) -> None:
    """Give the samples of the lake's own runs the names that versions have for them."""
    for manifest in mirror.manifests():
        parts = {part.sha256: f"{mirror.dataset}/{part.path}" for part in manifest.parts}
        if not ours.issuperset(parts.values()) and manifest.run_id is not None and is_name(manifest.run_id):
            path = inside(lake / "runs", manifest.run_id, single=True) / RUN_FILE
            stages = RecordedRun.of_file(path).stages if path.is_file() else ()
            for file in (file for stage in stages for file in stage.files if file.sha256 in parts):
                sample = inside(path.parent, file.name)
                if sample.is_file() and sample.stat().st_size == file.size and has_content(sample, file.sha256):
                    mirror.objects.keep(parts[file.sha256], sample, file.sha256)


def _matches(names: set[str], history: History, patterns: tuple[str, ...]) -> list[str]:
    """Those of the dataset that fit a pattern, in the order of the patterns."""
    home = f"{history.dataset}/"
    return [name for pattern in patterns for name in sorted(names) if re.fullmatch(pattern, name.removeprefix(home))]
