"""Every file of runs again, also of those that no version comes from, and of what is made of runs.

A view of the catalogue reads these files, and DuckDB compares no digests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from pydantic import ConfigDict, Field

from tasks.core.errors import BadArtefact
from tasks.pipeline.artefacts import MANIFEST, Artefact, File
from tasks.pipeline.durable_files import sha256_of
from tasks.pipeline.recorded_run import RUN_FILE, RecordedRun
from tasks.pipeline.run_documents import altered_documents
from tasks.pipeline.stored_names import inside
from tasks.versions.check import Check
from tasks.versions.vacuum import LARGE

# Folders of what is made of a run, each with its manifest.
_OF_RUNS = ("comparisons", "traces", "reviews", "review_answers")
# What views read by a pattern, and so whatever lies there under such a name.
_READ_BY_SUFFIX = (".parquet", ".arrow", ".pt")


class Files(NamedTuple):
    """What came of looking at files again, by their names."""

    total: int
    altered: list[str]
    absent: list[str]
    strays: list[str]
    """Tables and networks beside them that nothing names: SQL reads them like the others."""


class Digests:
    """SHA-256 of files, each read once: a file that several runs share has a name in each of their folders."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], str] = {}

    def of(self, path: Path) -> str | None:
        """Of one file; None if it is not there, or not any more: others may clear away meanwhile."""
        try:
            there = path.stat()
            key = (there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns)
            if key not in self._known and path.is_file():
                self._known[key] = sha256_of(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return self._known.get(key)


def files_in(folder: Path, files: Collection[File], digests: Digests) -> Files:
    """Compare files of a folder with their digests.

    Raises:
        BadArtefact: a name leads out of the folder.
    """
    found = {file.name: digests.of(inside(folder, file.name)) for file in files}
    altered = [file.name for file in files if found[file.name] not in (None, file.sha256)]
    absent = [name for name, digest in found.items() if digest is None]
    return Files(len(files), altered, absent, [])


def run_checks(
    lake: Path, dataset: str | None = None, but: Collection[str | None] = (), digests: Digests | None = None
) -> Iterator[Check]:
    """One check of each run, and of each comparison, trace and review.

    Args:
        lake: with the runs.
        dataset: whose; default: every one's, and what is made of any run.
        but: ids of runs that were looked at already.
        digests: what was read of files already.
    """
    digests = digests or Digests()
    for folder in _folders(lake, "runs"):
        if folder.name in but or dataset not in (None, folder.name.rsplit("-", 2)[0]):
            continue
        yield run_check(f"run {folder.name}", folder, digests)
    for home in () if dataset else _OF_RUNS:
        # What a person is asked about flagged samples, and answers, is for hands to edit, and has no manifest.
        for folder in (path for path in _folders(lake, home) if home != "reviews" or (path / MANIFEST).exists()):
            yield _guarded(f"{home}/{folder.name}", lambda at=folder: files_in(at, _manifest(at).files, digests))


def _folders(lake: Path, home: str) -> list[Path]:
    return sorted(path for path in (lake / home).glob("[!.]*") if path.is_dir())


def run_check(what: str, folder: Path, digests: Digests | None = None) -> Check:
    """Whether every file of a run is as it was written; what is large may have been cleared away."""
    return _guarded(what, lambda: _files_of_run(folder, digests or Digests()))


def _guarded(what: str, look: Callable[[], Files]) -> Check:
    try:
        files = look()
    except (BadArtefact, OSError) as error:
        return Check(what, "wrong", str(error))
    cleared = [name for name in files.absent if any(fnmatch(name, pattern) for pattern in LARGE)]
    gone = [name for name in files.absent if name not in cleared]
    lists = {"altered": files.altered, "missing": gone, "not of it": files.strays}
    if any(lists.values()):
        told = [f"{how}: {_first(names)}" for how, names in lists.items() if names]
        return Check(what, "wrong", "; ".join(told))
    if cleared:
        told = f"{len(cleared)} of {files.total} files are cleared away: {_first(cleared, 3)}"
        return Check(what, "unknown", told)
    return Check(what, "ok", f"{files.total} files as they were written")


def _first(names: list[str], count: int = 5) -> str:
    more = f" and {len(names) - count:,} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def _files_of_run(folder: Path, digests: Digests) -> Files:
    """The files of a run, and its own documents.

    Raises:
        BadArtefact: run.json or the manifest is damaged.
    """
    record = RecordedRun.of_file(folder / RUN_FILE)
    named = [file for stage in record.stages for file in stage.files]
    files, names = files_in(folder, named, digests), {file.name for file in named}
    there = (str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.suffix in _READ_BY_SUFFIX)
    return files._replace(
        total=files.total + 3,
        altered=[*_documents(folder, record), *files.altered],
        strays=[name for name in there if name not in names],
    )


def _documents(folder: Path, record: RecordedRun) -> list[str]:
    """Which of run.json, config.yaml and the manifest were altered.

    The manifest says of the files what run.json says.
    """
    stated = _manifest(folder)
    files = tuple(file for stage in record.stages for file in stage.files)
    name, facts = record.run_id, {"dataset": record.dataset}
    expected = Artefact(stage="run", folder=f"runs/{name}", files=files, facts=facts, digest=name, made_by=name)
    is_same = stated.model_dump(exclude={"documents"}) == expected.model_dump() and name == folder.name
    return [*altered_documents(folder / MANIFEST), *([] if is_same else [MANIFEST])]


class _Manifest(Artefact):
    """One in which no name can be altered unseen: a digest under another name would be that of nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    documents: dict[str, str] = Field(default_factory=dict)


def _manifest(folder: Path) -> _Manifest:
    """What a folder says of itself.

    Raises:
        BadArtefact: nothing that can be read.
    """
    path = folder / MANIFEST
    try:
        return _Manifest.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise BadArtefact(
            where=str(path),
            expected="a manifest",
            got=f"{type(error).__name__}: {error}",
            do="Restore it from a copy.",
        ) from error
