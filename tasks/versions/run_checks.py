"""Every file of runs again, also of those that no version comes from, and of what is made of runs.

A view of the catalogue reads these files, and DuckDB compares no digests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

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


class Files(NamedTuple):
    """What came of looking at files again, by their names."""

    total: int
    altered: list[str]
    absent: list[str]


def files_in(folder: Path, files: Collection[File]) -> Files:
    """Compare files of a folder with their digests.

    Raises:
        BadArtefact: a name leads out of the folder.
    """
    paths = {file: inside(folder, file.name) for file in files}
    there = [file for file, path in paths.items() if path.is_file()]
    altered = [file.name for file in there if sha256_of(paths[file]) != file.sha256]
    return Files(len(files), altered, [file.name for file in files if file not in there])


def run_checks(lake: Path, dataset: str | None = None, but: Collection[str | None] = ()) -> Iterator[Check]:
    """One check of each run, and of each comparison, trace and review.

    Args:
        lake: with the runs.
        dataset: whose; default: every one's, and what is made of any run.
        but: ids of runs that were looked at already.
    """
    for folder in _folders(lake, "runs"):
        if folder.name in but or dataset not in (None, folder.name.rsplit("-", 2)[0]):
            continue
        yield _guarded(f"run {folder.name}", folder, files_of_run)
    for home in () if dataset else _OF_RUNS:
        # What a person is asked about flagged samples, and answers, is for hands to edit, and has no manifest.
        for folder in (path for path in _folders(lake, home) if home != "reviews" or (path / MANIFEST).exists()):
            yield _guarded(f"{home}/{folder.name}", folder, _by_manifest)


def _folders(lake: Path, home: str) -> list[Path]:
    return sorted(path for path in (lake / home).glob("[!.]*") if path.is_dir())


def _guarded(what: str, folder: Path, look: Callable[[Path], Files]) -> Check:
    try:
        files = look(folder)
    except (BadArtefact, OSError) as error:
        return Check(what, "wrong", str(error))
    cleared = [name for name in files.absent if any(fnmatch(name, pattern) for pattern in LARGE)]
    gone = [name for name in files.absent if name not in cleared]
    if files.altered or gone:
        lists = {"altered": files.altered, "missing": gone}
        told = [f"{how}: {', '.join(names[:5])}" for how, names in lists.items() if names]
        return Check(what, "wrong", "; ".join(told))
    if cleared:
        told = f"{len(cleared)} of {files.total} files are cleared away: {', '.join(cleared[:3])}"
        return Check(what, "unknown", told)
    return Check(what, "ok", f"{files.total} files as they were written")


def files_of_run(folder: Path) -> Files:
    """The files of a run, and its own documents.

    Raises:
        BadArtefact: run.json or the manifest is damaged.
    """
    record = RecordedRun.of_file(folder / RUN_FILE)
    files = files_in(folder, [file for stage in record.stages for file in stage.files])
    return files._replace(total=files.total + 3, altered=[*_documents(folder, record), *files.altered])


def _documents(folder: Path, record: RecordedRun) -> list[str]:
    """Which of run.json, config.yaml and the manifest were altered.

    The manifest says of the files what run.json says.
    """
    stated = _manifest(folder)
    files = tuple(file for stage in record.stages for file in stage.files)
    name, facts = record.run_id, {"dataset": record.dataset}
    expected = Artefact(stage="run", folder=f"runs/{name}", files=files, facts=facts, digest=name, made_by=name)
    is_same = stated == expected and name == folder.name
    return [*altered_documents(folder / MANIFEST), *([] if is_same else [MANIFEST])]


def _by_manifest(folder: Path) -> Files:
    return files_in(folder, _manifest(folder).files)


def _manifest(folder: Path) -> Artefact:
    """What a folder says of itself.

    Raises:
        BadArtefact: nothing that can be read.
    """
    path = folder / MANIFEST
    try:
        return Artefact.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise BadArtefact(
            where=str(path),
            expected="a manifest",
            got=f"{type(error).__name__}: {error}",
            do="Restore it from a copy.",
        ) from error
