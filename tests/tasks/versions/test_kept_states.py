"""A state that many tests begin with is the same for each of them, whatever the ones before have done."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from kept_states import States

from tasks.versions.object_store import Objects


def contents(home, objects):
    files = {path.relative_to(home): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    names = {path.relative_to(home): (path.is_symlink(), path.stat().st_nlink) for path in home.rglob("*")}
    return files, names, {found.name: objects.read(found.name) for found in objects.list()}


def rewritten(path):
    about = path.stat()
    path.write_bytes(b"ONE")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


class Place(NamedTuple):
    home: Path
    objects: Objects


CHANGES = {
    "nothing": lambda at: at,
    "in place, of the same size and time": lambda at: rewritten(at.home / "lake" / "one"),
    "gone": lambda at: shutil.rmtree(at.home / "lake"),
    "more": lambda at: (at.home / "lake" / "more" / "below").mkdir(parents=True),
    "a name less": lambda at: (at.home / "lake" / "two").unlink(),
    "object gone": lambda at: at.objects.delete(["tiny/a"]),
    "object more": lambda at: at.objects.create("tiny/more", b"x"),
    "object other": lambda at: (at.objects.delete(["tiny/a"]), at.objects.create("tiny/a", b"OBJECT")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_test_has_done_to_a_state_is_not_there_for_the_next(tmp_path, bucket, change):
    home, objects, made = tmp_path / "home", Objects(bucket), []

    def make(place):
        made.append(place)
        (place / "lake").mkdir(parents=True)
        (place / "lake" / "one").write_bytes(b"one")
        (place / "lake" / "two").hardlink_to(place / "lake" / "one")
        (place / "lake" / "link").symlink_to("one")
        assert objects.create("tiny/a", b"object")
        return "made", objects

    states = States(lambda: home)
    assert states.get("name", make) == "made"
    before = contents(home, objects)
    for _ in range(2):
        change(Place(home, objects))
        assert states.get("name", make) == "made"
        assert contents(home, objects) == before
    assert made == [home]
