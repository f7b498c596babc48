"""The versions of one dataset, in the order they were committed, and the tags that point at them.

    <dataset>/v0001.json                a version: its manifest, created and never changed; this is the commit point
    <dataset>/parts/<sha256>.parquet    ingested samples, written once, whichever versions hold them
    <dataset>/contents/<id>/            what was decided, and the rows as plain Parquet if they are few enough
    <dataset>/tags/<name>/000001.json   every move of a tag; the last one counts

Any number of writers, no lock: whoever creates the next number has it, and the others go on to the one after. What a
manifest names is in its place before the manifest is. Nothing is ever changed, so nobody can read half of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from tasks.core.errors import BadArtefact, BadConfig
from tasks.versions.address import follow
from tasks.versions.manifest import FILE_NAME, Content, Manifest, Move
from tasks.versions.object_store import Objects

CURRENT, CANDIDATE = "current", "candidate"
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
# Words that mean something else where a version is asked for.
_RESERVED = re.compile(r"v?\d+|latest", re.IGNORECASE)


def now() -> str:
    """This moment, UTC, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def datasets(objects: Objects) -> list[str]:
    """Names of the datasets a store holds."""
    return [name for name in objects.children()[1] if not name.startswith(".")]


def histories(objects: Objects, dataset: str | None = None) -> list[History]:
    """Of every dataset that has versions, or of the one that is named; where a lake remembers them to lie."""
    all_histories = [History(follow(objects, name), name) for name in datasets(objects) if dataset in (None, name)]
    return [history for history in all_histories if history.numbers()]


class History:
    """The versions of ``dataset`` in ``objects``."""

    def __init__(self, objects: Objects, dataset: str) -> None:
        self.objects, self.dataset = objects, dataset

    # ---- versions ------------------------------------------------------------------------------------------------

    def numbers(self) -> list[int]:
        """Numbers of all committed versions, rising."""
        return sorted(
            int(match[1]) for name in self.objects.children(self.dataset)[0] if (match := FILE_NAME.fullmatch(name))
        )

    def manifest(self, number: int) -> Manifest:
        """One version."""
        name = f"{self.dataset}/v{number:04d}.json"
        return Manifest.read(self.objects.read(name), f"{self.objects.where}/{name}", f"v{number:04d}")

    def manifests(self) -> list[Manifest]:
        """All versions, oldest first."""
        return [manifest for number in self.numbers() if (manifest := self._still(number)) is not None]

    def _still(self, number: int) -> Manifest | None:
        """A version that was just listed; None if it has been cleared away since."""
        try:
            return self.manifest(number)
        except BadArtefact:
            if number in self.numbers():
                raise
            return None

    def newest(self, *kinds: str) -> Manifest | None:
        """The last version, of these kinds if any are named."""
        for number in reversed(self.numbers()):
            manifest = self._still(number)
            if manifest is not None and (not kinds or manifest.kind in kinds):
                return manifest
        return None

    def commit(self, facts: dict[str, Any]) -> Manifest:
        """Make the next version, or return the newest of its kind if that says just the same.

        Args:
            facts: the fields of the manifest but version, number, dataset and published.
        """
        while True:
            number = max(self.numbers(), default=0) + 1
            version = f"v{number:04d}"
            manifest = Manifest(version=version, number=number, dataset=self.dataset, published=now(), **facts)
            same = self.newest(manifest.kind)
            if same is not None and same.said() == manifest.said() and manifest.kind != "rollback":
                return same
            if self.put(manifest):
                return manifest

    def put(self, manifest: Manifest) -> bool:
        """Make a version of a manifest; False if its number is taken."""
        name = f"{self.dataset}/{manifest.version}.json"
        return self.objects.create(name, manifest.model_dump_json(indent=1).encode())

    def missing(self, content: Content) -> list[str]:
        """Objects of a content that are not there, or not as long as they were."""
        entries = [*self.objects.list(f"{self.dataset}/parts"), *self.objects.list(f"{self.dataset}/{content.folder}")]
        sizes = {entry.name.removeprefix(f"{self.dataset}/"): entry.size for entry in entries}
        return [name for name, file in content.objects.items() if sizes.get(name) != file.size]

    def check_whole(self, manifest: Manifest) -> None:
        """Refuse a version of which files are gone.

        Raises:
            BadArtefact: they are.
        """
        missing = self.missing(manifest.rows_of)
        if missing:
            raise BadArtefact(
                where=f"{self.dataset} {manifest.version}",
                expected=f"all {len(manifest.rows_of.objects)} files of it",
                got=f"{len(missing)} missing, {missing[0]} among them",
                do="Restore them from a copy, or choose another version; gradsieve versions verify says what is wrong.",
            )

    # ---- tags ----------------------------------------------------------------------------------------------------

    def tag_names(self) -> list[str]:
        """Every tag there ever was."""
        return self.objects.children(f"{self.dataset}/tags")[1]

    def moves(self, tag: str) -> list[Move]:
        """All moves of a tag, oldest first."""
        return [self._move(f"{self.dataset}/tags/{tag}/{number:06d}.json") for number in self._move_numbers(tag)]

    def _move_numbers(self, tag: str) -> list[int]:
        # What is no name of a tag is none of a folder either: it was typed by somebody.
        if not _TAG.fullmatch(tag):
            return []
        names = self.objects.children(f"{self.dataset}/tags/{tag}")[0]
        return sorted(int(name.removesuffix(".json")) for name in names if re.fullmatch(r"\d{6}\.json", name))

    def _move(self, name: str) -> Move:
        try:
            return Move.model_validate_json(self.objects.read(name))
        except ValidationError as error:
            raise BadArtefact(
                where=f"{self.objects.where}/{name}",
                expected="a move of a tag",
                got=str(error).replace("\n", " ")[:200],
                do="Restore the file from a copy of the store.",
            ) from error

    def version_of(self, tag: str) -> str | None:
        """The version a tag points at."""
        moves = self.moves(tag)
        return moves[-1].version if moves else None

    def tags(self) -> dict[str, str]:
        """Tag → version, of all that point at one."""
        targets = {tag: self.version_of(tag) for tag in self.tag_names()}
        return {tag: version for tag, version in targets.items() if version is not None}

    def move(
        self, tag: str, version: str | None, by: str, reason: str, unless: Callable[[str | None], bool] | None = None
    ) -> bool:
        """Point ``tag`` at ``version`` (at nothing: None); False if it does already, or ``unless`` says so.

        Args:
            tag: its name.
            version: a committed version.
            by: who moves it.
            reason: why.
            unless: asked again, of where the tag points, whenever another writer was faster.

        Raises:
            BadConfig: that is no name for a tag.
        """
        if not _TAG.fullmatch(tag) or _RESERVED.fullmatch(tag):
            raise BadConfig(
                where=f"tag {tag!r}",
                expected="a letter, then letters, digits, '.', '_' or '-'; no version's name",
                got=tag,
                do="Choose another name.",
            )
        while True:
            move_numbers = self._move_numbers(tag)
            there = (
                self._move(f"{self.dataset}/tags/{tag}/{move_numbers[-1]:06d}.json").version if move_numbers else None
            )
            if there == version or (unless is not None and unless(there)):
                return False
            data = Move(tag=tag, version=version, at=now(), by=by, reason=reason).model_dump_json(indent=1)
            # Who was faster has taken the number: then it is asked again.
            if self.objects.create(
                f"{self.dataset}/tags/{tag}/{(move_numbers or [0])[-1] + 1:06d}.json", data.encode()
            ):
                self._check_target(tag, version, there)
                return True

    def _check_target(self, tag: str, version: str | None, before: str | None) -> None:
        """Whoever clears away deletes a version, then looks for tags; whoever tags looks last: one sees the other."""
        if version is None or int(version[1:]) in self.numbers():
            return
        self.move(tag, before, "gradsieve", f"{version} is not there", unless=lambda there: there != version)
        raise BadConfig(
            where=f"tag {tag} of {self.dataset}",
            expected="a version that is there",
            got=version,
            do="It was cleared away just now; name another.",
        )

    # ---- asking --------------------------------------------------------------------------------------------------

    def resolve(self, name: str) -> Manifest:
        """A version by its name (v0002, 2), a tag, ``latest``, or a time.

        ``current@2026-11-25T04:00`` is where a tag pointed then, ``2026-11-25T04:00`` the newest version of that moment
        (UTC unless it says otherwise).

        Raises:
            BadConfig: there is none.
        """
        numbers = self.numbers()
        word, at, moment = name.partition("@")
        if re.fullmatch(r"v?\d+", word) and not at:
            if int(word.removeprefix("v")) in numbers:
                return self.manifest(int(word.removeprefix("v")))
        elif word == "latest" and not at and numbers:
            return self.manifest(numbers[-1])
        elif at or not _TAG.fullmatch(word):
            manifest = self._at(word if at else None, _moment(moment if at else word, name))
            if manifest is not None:
                return manifest
        elif (version := self.version_of(word)) is not None:
            return self.manifest(int(version[1:]))
        names = [f"v{number:04d}" for number in numbers[-5:]] + sorted(self.tags())
        raise BadConfig(
            where=f"version {name!r} of {self.dataset}",
            expected=f"one of {', '.join(names) or 'none yet'}, or a time",
            got=name,
            do="See gradsieve versions list.",
        )

    def _at(self, tag: str | None, moment: datetime) -> Manifest | None:
        if tag is not None:
            then = [move.version for move in self.moves(tag) if datetime.fromisoformat(move.at) <= moment]
            return self.manifest(int(then[-1][1:])) if then and then[-1] is not None else None
        return next(
            (m for m in reversed(self.manifests()) if datetime.fromisoformat(m.published) <= moment),
            None,
        )


def _moment(text: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadConfig(
            where=f"version {name!r}",
            expected="a version, a tag, or a time like 2026-11-25T04:00",
            got=text,
            do="See gradsieve versions list.",
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
