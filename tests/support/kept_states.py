"""A lake and what its store has, made once for many tests and put back where one of them has changed it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Generic, TypeVar

import obstore

from tasks.versions.object_store import Objects

Made = TypeVar("Made")


class State(Generic[Made]):
    """What was made in a folder and in a store elsewhere; both are as they were made whenever it is asked for.

    It stays where it was made, because documents of a lake name their places.

    Args:
        made: what is given to the tests.
        home: the folder, all of it.
        objects: the store; one in a folder is taken to lie below ``home``.
    """

    def __init__(self, made: Made, home: Path, objects: Objects) -> None:
        self._made, self._home, self._copy = made, home, home.with_name(f"{home.name}-kept")
        self._objects = None if objects.local else objects
        self._tags = self._stored()
        self._bytes = {name: self._objects.read(name) for name in self._tags} if self._objects else {}
        _copy(home, self._copy)
        self._stamps = _stamps(home)

    def get(self) -> Made:
        """What was made, with nothing of what the tests before have done to it."""
        if _stamps(self._home) != self._stamps:
            shutil.rmtree(self._home)
            _copy(self._copy, self._home)
            self._stamps = _stamps(self._home)
        stored = self._stored()
        if self._objects and stored != self._tags:
            changed = {name for name in stored.keys() | self._tags.keys() if stored.get(name) != self._tags.get(name)}
            self._objects.delete(sorted(changed & stored.keys()))
            for name in sorted(changed & self._tags.keys()):
                assert self._objects.create(name, self._bytes[name])
            self._tags = self._stored()
        return self._made

    def _stored(self) -> dict[str, str]:
        """Name → tag of the content of every object elsewhere."""
        if self._objects is None:
            return {}
        return {entry["path"]: str(entry["e_tag"]) for batch in obstore.list(self._objects.store) for entry in batch}


class States:
    """The states of a worker, by what they were made of; ``place`` gives an empty folder."""

    def __init__(self, place: Callable[[], Path]) -> None:
        self._place = place
        self._states: dict[Hashable, State[Any]] = {}

    def get(self, key: Hashable, make: Callable[[Path], tuple[Made, Objects]]) -> Made:
        """What ``make`` makes in an empty folder, with the store of it: made at the first time, put back later."""
        if key not in self._states:
            home = self._place()
            made, objects = make(home)
            self._states[key] = State(made, home, objects)
        return self._states[key].get()


def _stamps(folder: Path) -> dict[str, tuple[int, ...]]:
    """What changes of a file or folder whenever somebody changes it."""
    found, left = {}, [str(folder)]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                about = entry.stat(follow_symlinks=False)
                found[entry.path] = (about.st_ino, about.st_mode, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
    return found


def _copy(source: Path, target: Path) -> None:
    """A folder with the times of its files; names of one file are names of one file."""
    names: dict[int, str] = {}

    def copy(one: Any, other: Any) -> None:
        first = names.setdefault(os.lstat(one).st_ino, str(other))
        if first == str(other):
            shutil.copy2(one, other)
        else:
            os.link(first, other)

    shutil.copytree(source, target, symlinks=True, copy_function=copy)
