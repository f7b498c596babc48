"""A run's result to a version: its files into their places, then the manifest that makes it one."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.dataset.samples import sample_paths
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.durable_files import fsync, partial_folder
from tasks.pipeline.schemas import DECISIONS
from tasks.versions.address import follow, objects_of, remember
from tasks.versions.contents import DecisionFilter, file_of, members_digest, rows_of, write_plain
from tasks.versions.history import CURRENT, History
from tasks.versions.manifest import Content, Manifest, Part
from tasks.versions.mirror import check
from tasks.versions.promotion import Promotion, restraint_of

# Versions up to this size also hold their rows as plain Parquet, for readers without gradsieve: what is read on one
# machine is. Files of which every row is kept take no room twice.
PLAIN_BYTES = 256 << 20


def history_of(run: Run, store: str | None, dataset: str) -> History:
    """The dataset's history, asked once, so that a place that does not answer is found before anything is trained.

    Without ``store`` it is where the lake remembers it to lie.

    Raises:
        BadConfig: the place does not answer, or the lake shows another history under this name.
        BadArtefact: there is a key to sign with, and what is there is not signed with it.
    """
    history = History(follow(objects_of(store, run.lake), dataset), dataset)
    check(history, run.lake)
    history.check_signed()
    return history


class Publication:
    """Versions of one run.

    Args:
        run: whose lake the files are in.
        history: of the dataset.
        samples: the ingested artefact.
    """

    def __init__(self, run: Run, history: History, samples: Artefact) -> None:
        self.run, self.history, self.samples = run, history, samples

    def commit_ingested(self, facts: dict[str, Any], promotion: Promotion = "gate") -> Manifest:
        """The dataset as it came; the version that says just this, where there is one."""
        manifests = [m for m in self.history.manifests() if m.kind == "ingested"]
        manifest = next((m for m in reversed(manifests) if m.samples == self.samples.digest), None)
        if manifest is None:
            parent = manifests[-1].version if manifests else None
            manifest = self._commit("ingested", parent, DECISIONS.empty_table(), facts)
        elif self.history.missing(manifest.rows_of):
            # Its files are those of these samples: what is damaged of them is put right.
            self._content(DECISIONS.empty_table())
        # From its first version on the lake knows where they lie, also if the run is killed now.
        remember(self.run.lake, self.history.dataset, self.history.objects)
        # Until a cleaning has proven itself, the dataset is what came in, if all of it came in as it is: a trial's part
        # of it is nobody's dataset. Later moves are the gate's, or a person's.
        is_restrained = promotion == "none" or bool(restraint_of(self.history, facts["config"], promotion))
        if not is_restrained and CURRENT not in self.history.log.tags():
            self.history.move(CURRENT, manifest.version, facts["by"], "as ingested: nothing has proven itself yet")
        return manifest

    def commit_cleaned(self, parent: Manifest, decisions: pa.Table, facts: dict[str, Any]) -> Manifest:
        """``parent`` with what was decided; the newest cleaned version, where that says just the same."""
        return self._commit("cleaned", parent.version, decisions, facts)

    def _commit(self, kind: str, parent: str | None, decisions: pa.Table, facts: dict[str, Any]) -> Manifest:
        content = self._content(decisions)
        # What was just put there is not fetched again from an object store.
        with rows_of(self.history, content, self._here(content)) as rows:
            members = rows.members()
        counts, by_split = (_counts(table[name]) for table, name in ((decisions, "decision"), (members, "split")))
        manifest = self.history.commit(
            {
                "kind": kind,
                "parent": parent,
                "samples": self.samples.digest,
                "rows": members.num_rows,
                "splits": {split: by_split[split] for split in sorted(by_split)},
                "removed": counts["remove"],
                "relabelled": counts["relabel"],
                "members": members_digest(members),
                "content": content.id,
                **content.model_dump(),
                **facts,
            }
        )
        # Whoever clears old versions away may have found a part unused a moment before this version named it.
        self._complete(content, decisions)
        return manifest

    def _content(self, decisions: pa.Table) -> Content:
        parts = tuple(
            Part(**file.model_dump(exclude={"name"}), name=Path(file.name).name, split=_split(file.name))
            for file in self.samples.files
            if file.name.startswith("samples/")
        )
        with partial_folder(self.run.lake / "cache") as aside:
            content = self._write(aside, parts, decisions)
            self._put(content, aside)
        return content

    def _write(self, aside: Path, parts: tuple[Part, ...], decisions: pa.Table) -> Content:
        """The content, its files written to ``aside`` as they are named below it."""
        (aside / "data").mkdir()
        pq.write_table(decisions, aside / "decisions.parquet", compression="zstd")
        plain = None
        if sum(part.size for part in parts) <= PLAIN_BYTES:
            decision_filter, files = DecisionFilter(decisions), []
            for part, path in zip(parts, sample_paths(self.run, self.samples), strict=True):
                rows = write_plain(path, decision_filter, aside / "data" / part.name)
                # A file of which every row stays is the part itself.
                files.append(part if rows is None else file_of(aside / "data" / part.name, part.name, rows))
            plain = tuple(file.model_copy() for file in files)
        return Content(
            parts=parts,
            decisions=file_of(aside / "decisions.parquet", "decisions.parquet", decisions.num_rows),
            plain=plain,
            classes=tuple(self.samples.facts["classes"]),
            payload=self.samples.facts["payload"],
            target=self.samples.facts.get("target"),
        )

    def _put(self, content: Content, aside: Path) -> None:
        """Every object of the content that is not in its place yet."""
        parts = self._here(content)
        same = {part.sha256: parts[part.path] for part in content.parts}
        for name in self.history.missing(content):
            file = content.objects[name]
            path = aside / name.removeprefix(f"{content.folder}/")
            source = parts.get(name) or (path if path.is_file() else same[file.sha256])
            fsync(source)
            self.history.objects.keep(f"{self.history.dataset}/{name}", source, file.sha256)

    def _here(self, content: Content) -> dict[str, Path]:
        """The lake's own file of every part."""
        return dict(zip((part.path for part in content.parts), sample_paths(self.run, self.samples), strict=True))

    def _complete(self, content: Content, decisions: pa.Table) -> None:
        if self.history.missing(content):
            with partial_folder(self.run.lake / "cache") as aside:
                self._write(aside, content.parts, decisions)
                self._put(content, aside)


def _counts(column: pa.ChunkedArray) -> Counter[str]:
    return Counter({row["values"]: row["counts"] for row in pc.value_counts(column).to_pylist()})


def models_digest(checkpoints: list[Artefact]) -> str:
    """Of the networks that gradients were taken of."""
    return hashlib.sha256("".join(checkpoint.digest for checkpoint in checkpoints).encode()).hexdigest()


def _split(name: str) -> str:
    """Files of samples are named by their split: samples/train-00000.parquet."""
    return Path(name).name.partition("-")[0]
