"""The lake: the only place that names files, and the only one that makes them final.

    <lake>/cache/<stage>-<digest>/   what one stage made, named by its content; may be deleted, is then recomputed
    <lake>/runs/<run_id>/            one whole run: hard links to the stages' files, config.yaml, run.json (last)
    <lake>/comparisons/<run_id>/     one comparison of detectors and budgets: its tables, its plot, config.yaml
    <lake>/traces/<trace_id>/        which training samples shaped the answers to a run's queries: table, trace.json
    <lake>/reviews/<name>/           what a person is asked: the flagged, or a random sample of a run
    <lake>/review_answers/<id>/      the answers to a random sample, and what they say of the run
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
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from tasks.core.errors import BadArtefact
from tasks.core.progress import LOGGER
from tasks.core.system_errors import in_words
from tasks.pipeline.durable_files import (
    append_durably,
    link_or_copy,
    partial_folder,
    rename_folder,
    sha256_of,
    sweep,
    write_durably,
)
from tasks.pipeline.lake_check import make_lake
from tasks.pipeline.run_documents import altered_documents
from tasks.pipeline.stored_names import in_lake, inside, is_name
from tasks.pipeline.verified_files import has_content, put_aside, remember

MANIFEST = "manifest.json"
MEMORY_GIB = 4.0
"""What a run may hold of gradients at a time unless told otherwise: half of what a small machine has."""


class File(BaseModel):
    """One final file of an artefact."""

    model_config = ConfigDict(frozen=True)
    name: str
    rows: int
    size: int
    sha256: str


class Artefact(BaseModel):
    """What passes between steps: a reference to final files, small enough for the orchestrator to keep.

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

    @property
    def is_consistent(self) -> bool:
        """Whether the digest is that of the files and facts: of an artefact that was read from somewhere."""
        return self.digest == _digest(list(self.files), self.facts)

    def subset(self, prefixes: tuple[str, ...], *facts: str) -> Artefact:
        """The files whose names begin with one of ``prefixes``, with those of the named facts that there are.

        Its digest covers no more than these: a stage that is given a part is recomputed when the part changes.
        """
        files = tuple(file for file in self.files if file.name.startswith(prefixes))
        subset_facts = {name: self.facts[name] for name in facts if name in self.facts}
        return self.model_copy(
            update={"files": files, "facts": subset_facts, "digest": _digest(list(files), subset_facts)}
        )

    def with_facts(self, **facts: Any) -> Artefact:
        """The same files, said to be something else."""
        said = self.facts | facts
        return self.model_copy(update={"facts": said, "digest": _digest(list(self.files), said)})

    def shards(self, prefix: str, *facts: str) -> list[Artefact]:
        """One part for each file named ``prefix…``, for a mapped task."""
        return [self.subset((file.name,), *facts) for file in self.files if file.name.startswith(prefix)]


class Bundle(BaseModel):
    """What steps are given together: artefacts, parts and other bundles. A cache key takes its fields one by one."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)
    only_shown: ClassVar[frozenset[str]] = frozenset()  # fields that decide no result: no cache key takes them


def artefact_list(*values: Artefact | list[Artefact] | None) -> list[Artefact]:
    """Every artefact of some values, in their order; a step that was not run left None."""
    return [artefact for value in values for artefact in (value if isinstance(value, list) else [value]) if artefact]


class Run(BaseModel):
    """Where and for which run a step writes: ``with Run.start(lake, dataset) as run``. Never part of a cache key.

    A failure inside the block is entered in the run log; a success enters itself, with its result.
    """

    model_config = ConfigDict(frozen=True)
    lake: Path
    run_id: str
    memory_gib: float = MEMORY_GIB
    """How much a matrix of gradients may take. No cache key reads it: with less, batches
    are smaller, which may change the last bits of a gradient and nothing else."""

    @property
    def memory(self) -> int:
        """The same in bytes."""
        return int(self.memory_gib * 2**30)

    @property
    def dataset(self) -> str:
        """Whose samples it works on: what its id begins with."""
        return self.run_id.rsplit("-", 2)[0]

    @classmethod
    def start(cls, lake: Path, dataset: str, memory_gib: float = MEMORY_GIB) -> Run:
        """A new run in ``lake``; sweeps away what killed processes of this machine left half-written.

        Raises:
            BadConfig: the lake cannot be made, its file system lacks what it needs, or it holds a dataset whose name
                differs only in case.
            NoDisk: the disk refuses.
        """
        lake = lake.expanduser().resolve()
        make_lake(lake, dataset)
        sweep(lake)
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        return cls(lake=lake, run_id=f"{dataset}-{now}-{uuid.uuid4().hex[:4]}", memory_gib=memory_gib)

    @contextmanager
    def draft(self, stage: str) -> Iterator[Draft]:
        """A folder to write ``stage`` into. Nothing of it exists for anybody until ``commit``; discarded on error."""
        with partial_folder(self.lake / "cache") as folder:
            yield Draft(self, stage, folder)

    def path(self, artefact: Artefact, file: File | None = None) -> Path:
        """The final path of an artefact's only (or the given) file, checked to be there and to be as it was written.

        Raises:
            BadArtefact: the file is gone, has another size or content than its manifest says, or its name leads out of
                the lake.
        """
        file = file or artefact.files[0]
        path = in_lake(self.lake, f"{artefact.folder}/{file.name}")
        size = path.stat().st_size if path.is_file() else None
        if size == file.size and has_content(path, file.sha256):
            return path
        got = "no such file" if size is None else f"{size:,} bytes" if size != file.size else "other content"
        raise BadArtefact(
            where=str(path),
            expected=f"{file.size:,} bytes, SHA-256 {file.sha256[:16]}…, as run {artefact.made_by} wrote it",
            got=got,
            do=f"Delete the folder {artefact.folder} in the lake and run again: the stage is then recomputed.",
        )

    def paths(self, artefact: Artefact, suffix: str = "", folder: str = "") -> list[Path]:
        """Final paths of all files of ``artefact`` in ``folder`` (of all) whose names end in ``suffix``."""
        prefix = f"{folder}/" if folder else ""
        return [
            self.path(artefact, file)
            for file in artefact.files
            if file.name.endswith(suffix) and file.name.startswith(prefix)
        ]

    def intact(self, result: Artefact | list[Artefact]) -> bool:
        """Whether every file of a result is where it was and as it was: a cached reference may outlive its files.

        A folder of the cache that is damaged is named and put aside, so that nobody uses it.
        """
        artefacts = result if isinstance(result, list) else [result]
        # All are looked at, so that one run makes everything again that is damaged.
        damaged = [artefact for artefact in artefacts if not self._is_intact(artefact)]
        return not damaged

    def _is_intact(self, artefact: Artefact) -> bool:
        try:
            manifest = in_lake(self.lake, artefact.folder) / MANIFEST
            if not manifest.is_file() or altered_documents(manifest):
                return False
            self.paths(artefact)
        except BadArtefact as error:
            if artefact.folder.startswith("cache/") and is_name(artefact.folder.removeprefix("cache/")):
                LOGGER.warning("damaged, and therefore made again: %s: %s", error.where, error.got)
                put_aside(self.lake / artefact.folder)
            return False
        return True

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            return
        # Whoever interrupts a run hears of no disk.
        told = in_words(error, f"run {self.run_id}") if isinstance(error, Exception) else None
        with suppress(OSError):  # where the disk is full, nor does the log take a line
            self.log({"run_id": self.run_id, "state": "failed", "error": f"{type(error).__name__}: {told or error}"})
        if told is not None:
            raise told from error

    def log(self, line: dict[str, Any]) -> None:
        """Append one line to the run log."""
        text = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds")} | line, default=str)
        append_durably(self.lake / "log.jsonl", f"{text}\n")


class Draft:
    """A stage's output while it is being written."""

    def __init__(self, run: Run, stage: str, folder: Path) -> None:
        self.run, self.stage, self.folder = run, stage, folder
        self._rows: dict[str, int] = {}
        self._links: dict[str, File] = {}

    def adopt(self, file: File, source: Path) -> None:
        """Take a final file over as it is: a hard link where the file system has them."""
        link_or_copy(source, self.path(file.name, file.rows))
        self._links[file.name] = file

    def path(self, name: str, rows: int = 0) -> Path:
        """Where to write file ``name`` (of ``rows`` rows, if it is a table); who says it again knows them only then."""
        path = inside(self.folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Files stand in the order in which they were finished.
        self._rows.pop(name, None)
        self._rows[name] = rows
        return path

    def commit(self, **facts: Any) -> Artefact:
        """Make the written files final under a name derived from their content."""
        files = []
        for name, rows in self._rows.items():
            path = self.folder / name
            if name in self._links:
                files.append(self._whole(path, self._links[name]))
                continue
            files.append(File(name=name, rows=rows, size=path.stat().st_size, sha256=sha256_of(path)))
            remember(path, files[-1].sha256)
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
            # The name is taken by a damaged folder of the same content.
            put_aside(final)
            rename_folder(self.folder, final)
        return artefact

    def _whole(self, path: Path, file: File) -> File:
        """A file that was taken over, unless its content is not what it was."""
        if path.stat().st_size == file.size and has_content(path, file.sha256):
            return file
        raise BadArtefact(
            where=f"{file.name}, which {self.stage} takes over",
            expected=f"{file.size:,} bytes, SHA-256 {file.sha256[:16]}…",
            got="other content",
            do="Run again: a damaged stage is put aside and recomputed.",
        )


def _digest(files: list[File], facts: dict[str, Any]) -> str:
    content = [[file.name, file.rows, file.sha256] for file in files]
    return hashlib.sha256(json.dumps([content, facts], sort_keys=True).encode()).hexdigest()
