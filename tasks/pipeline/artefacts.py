"""The lake: the only place that names files, and the only one that makes them final.

    <lake>/cache/<stage>-<digest>/   what one stage made, named by its content; may be deleted, is then recomputed
    <lake>/runs/<run_id>/            one whole run: hard links to the stages' files, config.yaml, run.json (last)
    <lake>/comparisons/<run_id>/     one comparison of detectors and budgets: its tables, its plot, config.yaml
    <lake>/reports/<run_id>.html     what changed by a run, and why, with pictures
    <lake>/versions/<dataset>/       published versions (tasks/versions/history)
    <lake>/catalogue.duckdb          views over all of it (tasks/catalogue/database)
    <lake>/log.jsonl                 one line for every invocation, also for one that recomputed nothing

Every folder is written aside (``.partial-…``), each file fsynced, its manifest last, and renamed into place: a reader
sees all of it or nothing, and a kill at any moment leaves only a partial folder that the next run sweeps away.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.core.errors import BadArtefact, BadConfig

MANIFEST = "manifest.json"
PARTIAL = ".partial-"


class File(BaseModel):
    """One final file of an artefact."""

    model_config = ConfigDict(frozen=True)
    name: str
    rows: int
    size: int
    sha256: str


class Artefact(BaseModel):
    """What passes between verbs: a reference to final files, small enough for the orchestrator to keep.

    ``digest`` covers the files' content and ``facts``, and nothing of when, where or by which run they were made: a
    stage recomputed to the same result leaves everything after it cached.
    """

    model_config = ConfigDict(frozen=True)
    stage: str
    folder: str
    files: tuple[File, ...]
    facts: dict[str, Any]
    digest: str
    made_by: str

    @property
    def rows(self) -> int:
        """Rows of all files together."""
        return sum(file.rows for file in self.files)

    def shards(self, prefix: str, *facts: str) -> list[Artefact]:
        """One artefact for each file named ``prefix…``, with those named facts that there are, for a mapped task.

        A shard's digest covers no more than what its task depends on, so that rows added elsewhere leave it cached.
        """
        kept = {name: self.facts[name] for name in facts if name in self.facts}
        return [
            self.model_copy(update={"files": (file,), "facts": kept, "digest": _digest([file], kept)})
            for file in self.files
            if file.name.startswith(prefix)
        ]


class Run(BaseModel):
    """Where and for which run a verb writes. Never part of a cache key."""

    model_config = ConfigDict(frozen=True)
    lake: Path
    run_id: str

    @classmethod
    def start(cls, lake: Path, dataset: str) -> Run:
        """A new run in ``lake``; sweeps away what killed processes of this machine left half-written.

        Raises:
            BadConfig: the lake cannot be made, or holds a dataset whose name differs only in case.
        """
        lake = lake.expanduser().resolve()
        try:
            for folder in ("cache", "runs", "versions"):
                (lake / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadConfig(
                where=f"lake {lake}",
                expected="a folder that can be made and written to",
                got=f"{error.strerror} ({error.filename})",
                do="Name another with --lake, or mend its permissions.",
            ) from error
        _sweep(lake)
        for other in sorted(path.name for path in (lake / "versions").iterdir()):
            if other != dataset and other.lower() == dataset.lower():
                raise BadConfig(
                    where=f"dataset {dataset}",
                    expected="a name that differs from the lake's others by more than its case",
                    got=f"{other} is there already",
                    do="Name it with --dataset: file systems and SQL do not tell such names apart.",
                )
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        return cls(lake=lake, run_id=f"{dataset}-{now}-{uuid.uuid4().hex[:4]}")

    @contextmanager
    def draft(self, stage: str) -> Iterator[Draft]:
        """A folder to write ``stage`` into. Nothing of it exists for anybody until ``commit``; discarded on error."""
        with partial_folder(self.lake / "cache") as folder:
            yield Draft(self, stage, folder)

    def path(self, artefact: Artefact, file: File | None = None) -> Path:
        """The final path of an artefact's only (or the given) file, checked to be there and whole.

        Raises:
            BadArtefact: the file is gone or has another size than its manifest says.
        """
        file = file or artefact.files[0]
        path = self.lake / artefact.folder / file.name
        size = path.stat().st_size if path.is_file() else None
        if size != file.size:
            raise BadArtefact(
                where=str(path),
                expected=f"{file.size:,} bytes, as run {artefact.made_by} wrote it",
                got="no such file" if size is None else f"{size:,} bytes",
                do=f"Delete the folder {artefact.folder} in the lake and run again: the stage is then recomputed.",
            )
        return path

    def paths(self, artefact: Artefact, suffix: str = "", folder: str = "") -> list[Path]:
        """Final paths of all files of ``artefact`` in ``folder`` (of all) whose names end in ``suffix``."""
        prefix = f"{folder}/" if folder else ""
        return [
            self.path(artefact, file)
            for file in artefact.files
            if file.name.endswith(suffix) and file.name.startswith(prefix)
        ]

    def intact(self, artefact: Artefact) -> bool:
        """Whether every file is where it was and as long as it was. A cached reference may outlive its files."""
        if not (self.lake / artefact.folder / MANIFEST).is_file():
            return False
        try:
            self.paths(artefact)
        except BadArtefact:
            return False
        return True

    @contextmanager
    def logged(self) -> Iterator[Run]:
        """Enter a failure in the run log; a success enters itself, with what it found."""
        try:
            yield self
        except BaseException as error:
            self.log({"run_id": self.run_id, "state": "failed", "error": f"{type(error).__name__}: {error}"})
            raise

    def log(self, line: dict[str, Any]) -> None:
        """Append one line to the run log: a single O_APPEND write, so that two runs never mix theirs."""
        data = (json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds")} | line, default=str) + "\n").encode()
        descriptor = os.open(self.lake / "log.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Draft:
    """A stage's output while it is being written."""

    def __init__(self, run: Run, stage: str, folder: Path) -> None:
        self.run, self.stage, self.folder = run, stage, folder
        self._rows: dict[str, int] = {}
        self._adopted: dict[str, File] = {}

    def adopt(self, file: File, source: Path) -> None:
        """Take a final file over as it is: a hard link where the file system has them, and no second look at it."""
        link_or_copy(source, self.path(file.name, file.rows))
        self._adopted[file.name] = file

    def path(self, name: str, rows: int = 0) -> Path:
        """Where to write file ``name`` (of ``rows`` rows, if it is a table)."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rows[name] = rows
        return path

    def commit(self, **facts: Any) -> Artefact:
        """Make the written files final under a name derived from their content."""
        files = []
        for name, rows in self._rows.items():
            path = self.folder / name
            if name in self._adopted:
                files.append(self._adopted[name])
                continue
            files.append(File(name=name, rows=rows, size=path.stat().st_size, sha256=sha256_of(path)))
        digest = _digest(files, facts)
        final = self.run.lake / "cache" / f"{self.stage}-{digest[:16]}"
        artefact = Artefact(
            stage=self.stage,
            folder=str(final.relative_to(self.run.lake)),
            files=tuple(files),
            facts=facts,
            digest=digest,
            made_by=self.run.run_id,
        )
        write_durably(self.folder / MANIFEST, artefact.model_dump_json(indent=1))
        if not rename_folder(self.folder, final) and not self.run.intact(artefact):
            # The name is taken by a damaged folder of the same content: put it aside, never delete what is not ours.
            final.rename(final.with_name(f"{final.name}.damaged-{uuid.uuid4().hex[:8]}"))
            rename_folder(self.folder, final)
        return artefact


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link, or a copy on another file system or one without links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def write_durably(path: Path, text: str) -> None:
    """Write a small text file aside, fsync it, and rename it over ``path``."""
    aside = path.with_name(f"{PARTIAL}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name}")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    fsync(path.parent)


def rename_folder(aside: Path, final: Path) -> bool:
    """Fsync everything below ``aside`` and rename it to ``final``, which must not exist; False when it does."""
    for path in sorted(aside.rglob("*"), reverse=True):
        fsync(path)
    fsync(aside)
    try:
        aside.rename(final)
    except OSError:
        if final.exists():
            return False
        raise
    fsync(final.parent)
    return True


def fsync(path: Path) -> None:
    """Flush one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def partial_folder(parent: Path) -> Iterator[Path]:
    """A folder beside its final place, named after this process, removed unless it was renamed away."""
    folder = parent / f"{PARTIAL}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(lake: Path) -> None:
    """Remove partial files and folders whose process, on this machine, is no longer alive."""
    prefix = f"{PARTIAL}{socket.gethostname()}-"
    # The lake, its folders, and the datasets below versions/: the three levels at which anything is written aside.
    for pattern in (f"{prefix}*", f"*/{prefix}*", f"versions/*/{prefix}*"):
        for path in lake.glob(pattern):
            # process-random, and nothing of another host whose name begins like ours.
            process, _, rest = path.name.removeprefix(prefix).partition("-")
            ours = process.isdigit() and re.fullmatch(r"[0-9a-f]{8}(-.*)?", rest)
            if ours and not _alive(int(process)):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _digest(files: list[File], facts: dict[str, Any]) -> str:
    content = [[file.name, file.rows, file.sha256] for file in files]
    return hashlib.sha256(json.dumps([content, facts], sort_keys=True).encode()).hexdigest()
