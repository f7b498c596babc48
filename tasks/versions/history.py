"""The versions of one dataset, in the order they were committed, and the tags that point at them.

    <dataset>/v0001.json                a version: its manifest, created and never changed; this is the commit point
    <dataset>/parts/<sha256>.parquet    ingested samples, written once, whichever versions hold them
    <dataset>/contents/<id>/            what was decided, and the rows as plain Parquet if they are few enough
    <dataset>/log/000001.json           every move of a tag (tasks/versions/log); the last link counts
    <dataset>/tags/<name>/000001.json   moves from before there was a log

Any number of writers, no lock: whoever creates the next number has it, and the others go on to the one after. What a
manifest names is in its place before the manifest is. Nothing is ever changed, so nobody can read half of it. Each
manifest names the one before it and the newest link by their digests (tasks/versions/seal).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tasks.core.errors import BadArtefact, BadConfig
from tasks.versions.log import Log, now
from tasks.versions.manifest import FILE_NAME, Content, Manifest, Move
from tasks.versions.object_store import Objects
from tasks.versions.seal import Named, Seal, sealed
from tasks.versions.tag_names import CURRENT, check_tag_name, is_tag_name

_NOT_YET = f" Where nothing is {CURRENT} yet, gradsieve versions tag {CURRENT} --version V makes it so."


def datasets(objects: Objects) -> list[str]:
    """Names of the datasets a store holds."""
    return [name for name in objects.children()[1] if not name.startswith(".")]


class History:
    """The versions of ``dataset`` in ``objects``."""

    def __init__(self, objects: Objects, dataset: str) -> None:
        self.objects, self.dataset = objects, dataset
        self.log = Log(objects, dataset)

    # ---- versions ------------------------------------------------------------------------------------------------

    def numbers(self) -> list[int]:
        """Numbers of all committed versions, rising."""
        return sorted(
            int(match[1]) for name in self.objects.children(self.dataset)[0] if (match := FILE_NAME.fullmatch(name))
        )

    def manifest(self, number: int) -> Manifest:
        """One version."""
        return Manifest.read(self.data(number), *self._called(number))

    def altered(self, number: int) -> Manifest:
        """One version, whatever its seal says: to look for what is wrong with it."""
        return Manifest.parse(self.data(number), *self._called(number))

    def data(self, number: int) -> bytes:
        """The manifest of a version as it lies there."""
        return self.objects.read(f"{self.dataset}/v{number:04d}.json")

    def _called(self, number: int) -> tuple[str, str]:
        return f"{self.objects.where}/{self.dataset}/v{number:04d}.json", f"v{number:04d}"

    def manifests(self) -> list[Manifest]:
        """All versions, oldest first."""
        return [manifest for number in self.numbers() if (manifest := self.still(number)) is not None]

    def still(self, number: int) -> Manifest | None:
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
            manifest = self.still(number)
            if manifest is not None and (not kinds or manifest.kind in kinds):
                return manifest
        return None

    def commit(self, facts: dict[str, Any]) -> Manifest:
        """Make the next version, or return the newest of its kind if that says just the same.

        Args:
            facts: the fields of the manifest but version, number, dataset and published.
        """
        self.begin()
        while True:
            link, before = self.log.head(), self.newest_name()
            number = 1 if before is None else int(before.name[1:-5]) + 1
            about = {"version": f"v{number:04d}", "number": number, "dataset": self.dataset, "published": now()}
            manifest = Manifest(**about, **facts)
            same = self.newest(manifest.kind)
            if same is not None and same.said() == manifest.said():
                return same
            manifest = sealed(manifest, before, link and link[1])
            if self.put(manifest.version, manifest.model_dump_json(indent=1).encode()):
                return manifest

    def put(self, version: str, data: bytes) -> bool:
        """Make a version of a manifest's bytes; False if its number is taken."""
        return self.objects.create(f"{self.dataset}/{version}.json", data)

    def newest_name(self) -> Named | None:
        """The newest version by its name and digest; None where there is none."""
        return self._newest()[0]

    def _newest(self) -> tuple[Named | None, Seal | None]:
        while numbers := self.numbers():
            try:
                data = self.data(numbers[-1])
            except BadArtefact:  # cleared away since it was listed: by then it was not the newest any more
                if numbers[-1] in self.numbers():
                    raise
                continue
            return Named.of(f"v{numbers[-1]:04d}.json", data), Seal.of(data)
        return None, None

    # ---- the log -------------------------------------------------------------------------------------------------

    def check_signed(self) -> None:
        """With a key in the environment, refuse to build upon what is not signed with it.

        Raises:
            BadArtefact: the last link or the newest version is not.
        """
        self.log.check_signed(*self._newest())

    def begin(self) -> None:
        """Before anything is written: the log begins, if it has not; of a lake from before it names all there is."""
        self.check_signed()
        self.log.begin(self.newest_name())

    # ---- files ---------------------------------------------------------------------------------------------------

    def missing(self, content: Content) -> list[str]:
        """Objects of a content that are not there, or not as they were written."""
        entries = [*self.objects.list(f"{self.dataset}/parts"), *self.objects.list(f"{self.dataset}/{content.folder}")]
        sizes = {entry.name.removeprefix(f"{self.dataset}/"): entry.size for entry in entries}
        return [
            name
            for name, file in content.objects.items()
            if sizes.get(name) != file.size or not self.objects.has(f"{self.dataset}/{name}", file.sha256)
        ]

    def check_whole(self, manifest: Manifest) -> None:
        """Refuse a version of which files are gone or damaged.

        Raises:
            BadArtefact: some are.
        """
        if missing := self.missing(manifest.rows_of):
            raise BadArtefact(
                where=f"{self.dataset} {manifest.version}",
                expected=f"all {len(manifest.rows_of.objects)} files of it",
                got=f"{len(missing)} missing or damaged, {missing[0]} among them",
                do="Restore them from a copy, or choose another version; gradsieve versions verify says what is wrong.",
            )

    # ---- tags ----------------------------------------------------------------------------------------------------

    def moves(self, tag: str) -> list[Move]:
        """All moves of a tag, oldest first."""
        return self.log.moves(tag) if is_tag_name(tag) else []

    def version_of(self, tag: str) -> str | None:
        """The version a tag points at."""
        return self.log.tags().get(tag)

    def tags(self) -> dict[str, str]:
        """Tag → version, of all that point at one."""
        return {tag: version for tag, version in sorted(self.log.tags().items()) if version is not None}

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
            BadConfig: that is no name for a tag, or one that differs from another in case alone.
        """
        before: list[str | None] = []

        def entry(tags: dict[str, str | None]) -> dict[str, Any] | None:
            check_tag_name(tag, tags)
            there = tags.get(tag)
            if there == version or (unless is not None and unless(there)):
                return None
            before.append(there)
            fields = {"kind": "move", "by": by, "reason": reason, "tag": tag, "was": there, "version": version}
            return fields | {"tags": tags | {tag: version}}

        check_tag_name(tag, self.log.tags())
        self.begin()
        has_moved = self.log.append(self.newest_name(), entry)
        if has_moved:
            self._check_target(tag, version, before[-1])
        return has_moved

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
        """A version by its name, as ``number_of`` reads it; where a tag moves on meanwhile, the next one."""
        number = self.number_of(name)
        while (manifest := self.still(number)) is None:
            before, number = number, self.number_of(name)
            if number == before:
                return self.manifest(number)
        return manifest

    def number_of(self, name: str) -> int:
        """The number of a version by its name (v0002, 2), a tag, ``latest``, or a time.

        ``current@2026-11-25T04:00`` is where a tag pointed then, ``2026-11-25T04:00`` the newest version of that moment
        (UTC unless it says otherwise).

        Raises:
            BadConfig: there is none.
        """
        numbers = self.numbers()
        word, at, moment = name.partition("@")
        if re.fullmatch(r"v?\d+", word) and not at:
            if int(word.removeprefix("v")) in numbers:
                return int(word.removeprefix("v"))
        elif word == "latest" and not at and numbers:
            return numbers[-1]
        elif at or not is_tag_name(word):
            if (version := self._at(word if at else None, _moment(moment if at else word, name))) is not None:
                return int(version[1:])
        elif (version := self.version_of(word)) is not None:
            return int(version[1:])
        names = [f"v{number:04d}" for number in numbers[-5:]] + sorted(self.tags())
        raise BadConfig(
            where=f"version {name!r} of {self.dataset}",
            expected=f"one of {', '.join(names) or 'none yet'}, or a time",
            got=name,
            do=f"See gradsieve versions list.{_NOT_YET if word == CURRENT else ''}",
        )

    def _at(self, tag: str | None, moment: datetime) -> str | None:
        if tag is None:
            return next((m.version for m in reversed(self.manifests()) if _when(m.published) <= moment), None)
        return next((move.version for move in reversed(self.moves(tag)) if _when(move.at) <= moment), None)


def _when(text: str) -> datetime:
    return datetime.fromisoformat(text)


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
