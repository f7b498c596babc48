"""The log of a dataset's versions: where its tags point, and what was cleared away, one link after another.

    <dataset>/log/000001.json   what was there when the log began; of a lake from before: all its versions and moves
    <dataset>/log/000002.json   a move of a tag, or versions that were cleared away, each with its digest

A link is created by one writer alone and never changed; whoever comes second reads again and takes the next number. It
names the link before it and the newest version by their digests, and holds where every tag points from then on, so
that the last link says it all. A link is the move: there is no moment between the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.core.errors import BadArtefact
from tasks.versions.early_moves import early_move_names, early_moves
from tasks.versions.manifest import FILE_NAME, Move
from tasks.versions.object_store import Objects
from tasks.versions.seal import Named, Seal, has_key, is_unbroken, sealed, sha256, signature_of

_FILE = re.compile(r"(\d{6})\.json")


class Removed(BaseModel):
    """What is left of a version that was cleared away."""

    model_config = ConfigDict(frozen=True)
    version: str
    sha256: str
    seal: Seal | None

    @classmethod
    def of(cls, version: str, data: bytes) -> Removed:
        """Of a manifest's bytes."""
        return cls(version=version, sha256=sha256(data), seal=Seal.of(data))


class Link(BaseModel):
    """One entry of the log."""

    model_config = ConfigDict(frozen=True)
    number: int
    kind: Literal["begun", "move", "removed", "signed"]
    at: str
    by: str
    reason: str
    tags: dict[str, str | None]
    """Where every tag points from now on; at nothing: None."""
    tag: str | None = None
    """Of a move: which tag."""
    was: str | None = None
    """Of a move: where it pointed."""
    version: str | None = None
    """Of a move: where it points."""
    adopted: dict[str, str] = {}
    """Of the first link: what was there before the log, by name, with its SHA-256."""
    removed: tuple[Removed, ...] = ()
    seal: Seal | None = None

    @property
    def file(self) -> str:
        """Its name, below the dataset."""
        return f"log/{self.number:06d}.json"

    @property
    def move(self) -> Move | None:
        """The move that it is, if it is one."""
        if self.kind != "move" or self.tag is None:
            return None
        return Move(tag=self.tag, version=self.version, at=self.at, by=self.by, reason=self.reason)


def now() -> str:
    """This moment, UTC, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Log:
    """The log of ``dataset`` in ``objects``."""

    def __init__(self, objects: Objects, dataset: str) -> None:
        self.objects, self.dataset = objects, dataset

    def numbers(self) -> list[int]:
        """Numbers of all links, rising."""
        names = self.objects.children(f"{self.dataset}/log")[0]
        return sorted(int(match[1]) for name in names if (match := _FILE.fullmatch(name)))

    def data(self, number: int) -> bytes:
        """A link as it lies there."""
        return self.objects.read(f"{self.dataset}/log/{number:06d}.json")

    def link(self, number: int) -> Link:
        """One link.

        Raises:
            BadArtefact: it is damaged, or was altered.
        """
        return self._read(number, self.data(number))

    def _read(self, number: int, data: bytes) -> Link:
        try:
            link = Link.model_validate_json(data)
            if link.number == number and is_unbroken(data):
                return link
            problem = "one that was altered"
        except ValidationError as error:
            problem = str(error).replace("\n", " ")[:200]
        raise BadArtefact(
            where=f"{self.objects.where}/{self.dataset}/log/{number:06d}.json",
            expected="a link of the log as it was written",
            got=problem,
            do="Restore the file from a copy of the store. Without a copy, delete it if it is the last one: tags then "
            "point where they did before.",
        )

    def head(self) -> tuple[Link, Named] | None:
        """The last link, and its name with its digest; None where there is no log yet."""
        numbers = self.numbers()
        if not numbers:
            return None
        data = self.data(numbers[-1])
        link = self._read(numbers[-1], data)
        return link, Named.of(link.file, data)

    def tags(self) -> dict[str, str | None]:
        """Where every tag points that there ever was."""
        head = self.head()
        return self._early_tags() if head is None else head[0].tags

    def _early_tags(self) -> dict[str, str | None]:
        names = {name.split("/")[1]: name for name in early_move_names(self.objects, self.dataset)}
        return {move.tag: move.version for move in early_moves(self.objects, self.dataset, list(names.values()))}

    def moves(self, tag: str) -> list[Move]:
        """All moves of a tag, oldest first; of those from before the log the ones that were there when it began."""
        numbers = self.numbers()
        links = [self.link(number) for number in numbers]
        early = [name for name in early_move_names(self.objects, self.dataset) if name.startswith(f"tags/{tag}/")]
        early = [name for name in early if not links or name in links[0].adopted]
        later = [link.move for link in links if link.tag == tag]
        return early_moves(self.objects, self.dataset, early) + [move for move in later if move is not None]

    def append(self, newest: Named | None, entry: Callable[[dict[str, str | None]], dict[str, Any] | None]) -> bool:
        """Add a link, after whichever is the last; False where there is nothing to add.

        Args:
            newest: version of the dataset.
            entry: fields of the link, for where the tags point now; None: none. Asked again whenever another writer
                was faster.
        """
        self.begin(newest)
        while True:
            head = self.head()
            if head is None:  # somebody has deleted it just now
                self.begin(newest)
                continue
            last, name = head
            fields = entry(last.tags)
            if fields is None:
                return False
            link = Link.model_validate({"tags": last.tags} | fields | {"number": last.number + 1, "at": now()})
            if self._create(link, name, newest):
                return True

    def sign(self, newest: Named | None, by: str, reason: str) -> None:
        """Add a link that says that all is as it should be; with a key in the environment it is signed."""
        self.append(newest, lambda _: {"kind": "signed", "by": by, "reason": reason})

    def begin(self, newest: Named | None) -> None:
        """Write the first link, unless there is one: it names all that was there before there was a log."""
        if self.numbers():
            return
        names = [name for name in self.objects.children(self.dataset)[0] if FILE_NAME.fullmatch(name)]
        names += early_move_names(self.objects, self.dataset)
        adopted = {name: sha256(self.objects.read(f"{self.dataset}/{name}")) for name in names}
        link = Link(
            number=1,
            kind="begun",
            at=now(),
            by="gradsieve",
            reason=f"{len(adopted):,} documents were there before the log" if adopted else "a new dataset",
            tags=self._early_tags(),
            adopted=adopted,
        )
        # Who was faster has begun it.
        self._create(link, None, newest)

    def _create(self, link: Link, before: Named | None, newest: Named | None) -> bool:
        data = sealed(link, before, newest).model_dump_json(indent=1)
        return self.objects.create(f"{self.dataset}/{link.file}", data.encode())

    def check_signed(self, newest: Named | None, seal: Seal | None) -> None:
        """With a key in the environment, refuse to build upon what is not signed with it.

        Else whoever strips all signatures and waits would have the next run sign what was altered.

        Args:
            newest: version of the dataset.
            seal: of that version.

        Raises:
            BadArtefact: the last link or the newest version is not signed with the key.
        """
        if not has_key():
            return
        head = self.head()
        is_signed = head is not None and signature_of(head[0].seal) == "valid"
        covers = is_signed and head is not None and head[0].seal is not None and head[0].seal.beside == newest
        unsigned = [] if head is None or is_signed else [head[0].file]
        unsigned += [] if newest is None or covers or signature_of(seal) == "valid" else [newest.name]
        if unsigned:
            raise BadArtefact(
                where=f"{self.objects.where}/{self.dataset}",
                expected="a newest version and a last link that are signed with GRADSIEVE_SIGNING_KEY",
                got=f"{' and '.join(unsigned)}, which {'are' if len(unsigned) > 1 else 'is'} not",
                do="Somebody without the key wrote there, or nothing is signed yet. See gradsieve versions verify; if "
                "all is as it should be, gradsieve versions sign.",
            )
