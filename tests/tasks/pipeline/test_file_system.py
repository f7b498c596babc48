"""What a lake needs of its file system is tried before anything is begun, and what is missing is named at once."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from tasks.core.errors import BadConfig, NoDisk
from tasks.pipeline import file_system
from tasks.pipeline.artefacts import Run
from tasks.pipeline.file_system import check_file_system
from tasks.pipeline.lake_check import check_lake


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """Another process, which has tried no place yet."""
    monkeypatch.setattr(file_system, "_KNOWN", set())


def refuse(code: int):
    def act(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return act


def test_an_ordinary_disk_has_all_of_it_is_asked_once_and_nothing_is_left_there(tmp_path):
    check_lake(tmp_path / "lake")
    assert list(tmp_path.iterdir()) == []
    start = time.monotonic()
    for _ in range(100):
        check_file_system(tmp_path, tmp_path)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    ("owner", "name", "missing"),
    [
        (os, "link", "hard links to names that are not taken"),
        (Path, "replace", "renaming a file over another"),
        (os, "fsync", "flushing a folder to the disk"),
    ],
)
@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.EINVAL])
def test_what_a_file_system_cannot_do_is_named_with_what_to_do(monkeypatch, tmp_path, owner, name, missing, code):
    monkeypatch.setattr(owner, name, refuse(code))
    with pytest.raises(BadConfig, match=rf"{missing}.*--lake") as refused:
        check_file_system(tmp_path, tmp_path)
    assert refused.value.got.count(";") == 0


def test_one_that_lets_everybody_create_rename_and_lock_is_refused_for_each_of_it(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "link", lambda source, target: Path(target).write_bytes(Path(source).read_bytes()))
    monkeypatch.setattr(Path, "touch", lambda path, **_: path.write_bytes(b""))
    monkeypatch.setattr(Path, "rename", lambda path, _: path)
    monkeypatch.setattr(file_system.FileLock, "acquire", lambda lock: lock)
    with pytest.raises(BadConfig) as refused:
        Run.start(tmp_path / "lake", "set")
    assert refused.value.got.count(";") == 3
    for words in ("one writer alone", "hard links", "rename a folder", "locks"):
        assert words in refused.value.got


def test_a_disk_that_is_full_is_not_blamed_on_its_file_system(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "write_text", refuse(errno.ENOSPC))
    with pytest.raises(NoDisk, match="no space left"):
        check_lake(tmp_path / "lake")
