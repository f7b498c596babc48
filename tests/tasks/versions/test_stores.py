"""What every store promises: one winner for a name, all bytes or none, and an answer in words where it cannot serve."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.core.errors import BadArtefact, BadConfig
from tasks.pipeline.durable_files import PARTIAL
from tasks.versions import object_store as places
from tasks.versions.address import objects_of
from tasks.versions.maintenance import MaintainConfig
from tasks.versions.object_store import Objects

WRITERS = 16

RACE = """
import os, sys
from tasks.versions.object_store import Objects
objects = Objects(sys.argv[1])
print(sum(objects.create(f"pets/v{i:04d}.json", f"{os.getpid()} {i}".encode()) for i in range(40)))
"""


@pytest.fixture
def objects(store, tmp_path) -> Objects:
    return objects_of(store, tmp_path / "lake")


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "source").write_bytes(b"some bytes")
    return tmp_path / "source"


def test_a_word_is_a_folder_or_a_url_and_none_is_the_lakes_own(tmp_path):
    assert objects_of(None, tmp_path).folder == tmp_path / "versions"
    assert objects_of(str(tmp_path / "else"), tmp_path).folder == tmp_path / "else"
    for word in (None, "data/versions", "s3://bucket", "s3://bucket/a/b", "gs://bucket/a", "abfss://box@account/a"):
        assert MaintainConfig(store=word).store == word


@pytest.mark.parametrize(
    "word", ["", " ", "s3://", "s3:///prefix", "nothing://here/x", "s3://bucket/a b", "S3://b", "s3://k:s@b"]
)
def test_a_word_that_is_neither_is_refused_in_words(word):
    with pytest.raises(ValidationError, match="expected a folder, or a URL like s3://bucket/prefix"):
        MaintainConfig(store=word)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    data=st.binary(max_size=2000), name=st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,19}/[a-z0-9]{1,9}\.json", fullmatch=True)
)
def test_what_was_created_is_read_back_and_cannot_be_created_again(objects, data, name):
    if objects.size(name) is None:
        assert objects.create(name, data)
    there = objects.read(name)
    assert objects.size(name) == len(there)
    assert not objects.create(name, there + b"other")
    assert objects.read(name) == there
    assert name in [found.name for found in objects.list()]


def test_of_many_threads_one_creates_a_name(objects):
    with ThreadPoolExecutor(WRITERS) as pool:
        won = list(pool.map(lambda i: objects.create("pets/v0001.json", str(i).encode()), range(WRITERS)))
    assert sum(won) == 1
    assert objects.read("pets/v0001.json") == str(won.index(True)).encode()


def test_of_many_processes_one_creates_each_name(objects):
    command = [sys.executable, "-c", RACE, objects.where]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    won = [int(process.communicate(timeout=60)[0]) for process in started]
    assert sum(won) == 40
    assert len(objects.list("pets")) == 40


def test_a_kept_file_is_there_once_and_takes_no_room_twice(objects, file):
    assert objects.keep("pets/parts/a", file) == 10
    assert objects.keep("pets/parts/a", file) == 0
    assert objects.read("pets/parts/a") == b"some bytes"
    if objects.local:
        assert (objects.folder / "pets/parts/a").stat().st_ino == file.stat().st_ino


def test_a_file_of_another_length_is_put_right(objects, file):
    assert objects.create("pets/parts/a", b"half")
    assert objects.keep("pets/parts/a", file) == 10
    assert objects.read("pets/parts/a") == b"some bytes"


def test_a_damaged_file_of_the_same_length_is_put_right_where_content_is_looked_at(objects, file, monkeypatch):
    assert objects.keep("pets/parts/a", file) == 10
    objects.delete(["pets/parts/a"])
    assert objects.create("pets/parts/a", b"sOme bytes")
    monkeypatch.setenv("GRADSIEVE_VERIFY", "size")
    assert objects.keep("pets/parts/a", file) == 0
    monkeypatch.delenv("GRADSIEVE_VERIFY")
    assert objects.keep("pets/parts/a", file) == 10
    assert objects.read("pets/parts/a") == b"some bytes"
    assert objects.keep("pets/parts/a", file) == 0


def test_objects_and_folders_are_listed_apart_and_what_is_being_written_not_at_all(objects):
    for name in ("pets/v0001.json", "pets/parts/a", "pets/tags/current/000001.json", "cars/v0001.json"):
        objects.create(name, b"x")
    objects.create(f"pets/{PARTIAL}elsewhere-1-abcd", b"x")
    assert objects.children("pets") == (["v0001.json"], ["parts", "tags"])
    assert objects.children()[1] == ["cars", "pets"]
    assert [found.name for found in objects.list("pets")] == [
        "pets/parts/a",
        "pets/tags/current/000001.json",
        "pets/v0001.json",
    ]
    assert objects.list("none") == []
    assert objects.children("none") == ([], [])


def test_what_is_deleted_is_gone_and_may_be_deleted_again(objects):
    objects.create("pets/a", b"x")
    objects.delete(["pets/a", "pets/never"])
    objects.delete(["pets/a"])
    assert objects.size("pets/a") is None


def test_a_local_file_of_an_object_has_its_bytes(objects, file, tmp_path):
    objects.keep("pets/parts/a", file)
    for _ in range(2):
        assert objects.file("pets/parts/a", tmp_path / "scratch").read_bytes() == b"some bytes"


def test_what_is_not_there_is_said_to_be_missing(objects, tmp_path):
    with pytest.raises(BadArtefact, match="pets/none"):
        objects.read("pets/none")
    with pytest.raises(BadArtefact, match="pets/none"):
        objects.file("pets/none", tmp_path / "scratch")
    assert objects.size("pets/none") is None


def test_a_bucket_that_is_not_there_or_does_not_answer_is_said_within_a_minute(s3, monkeypatch):
    for url, endpoint in (("s3://none/x", s3), ("s3://bucket/x", "http://127.0.0.1:9")):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        start = time.monotonic()
        with pytest.raises((BadConfig, BadArtefact), match=r"store|none"):
            Objects(url).create("pets/v0001.json", b"x")
        assert time.monotonic() - start < 60


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_a_store_may_be_silent(s3, file, monkeypatch):
    monkeypatch.setattr(places, "PATIENCE", timedelta(seconds=1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        objects = Objects("s3://bucket/x")
        for ask in (objects.children, lambda: objects.create("a", b"x"), lambda: objects.keep("b", file)):
            start = time.monotonic()
            with pytest.raises(BadConfig, match="store"):
                ask()
            assert time.monotonic() - start < 8


@pytest.mark.parametrize("where", ["nothing://here/x", "s3://"])
def test_a_place_that_is_none_is_refused(where):
    with pytest.raises(BadConfig, match="store"):
        Objects(where)


FULL = """
import resource, signal, sys
from pathlib import Path
from tasks.core.errors import GradsieveError
from tasks.versions.object_store import Objects
objects = Objects(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    objects.create("pets/v0001.json", b"x" * 5000)
except GradsieveError as error:
    print("said", error)
"""


def test_a_full_disk_is_said_and_leaves_nothing_under_the_name(tmp_path):
    assert resource.RLIMIT_FSIZE is not None
    assert signal.SIGXFSZ is not None
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("said"), done.stderr
    assert "Make room there" in done.stdout
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadConfig, match="store"):
        Objects(tmp_path / "file" / "below").create("pets/a", b"x")


@pytest.mark.parametrize("name", ["../out.json", "a/../../out.json", "/out.json", "a/./b", "a//b"])
def test_no_name_leads_out_of_a_store(objects, file, tmp_path, name):
    for refused in (
        lambda: objects.create(name, b"data"),
        lambda: objects.keep(name, file),
        lambda: objects.read(name),
        lambda: objects.size(name),
        lambda: objects.list(name),
        lambda: objects.children(name),
        lambda: objects.file(name, tmp_path / "scratch"),
        lambda: objects.delete([name]),
    ):
        with pytest.raises(BadArtefact, match="expected the name of something below it"):
            refused()


def test_where_one_name_leads_out_none_is_deleted(objects):
    objects.create("a/kept.json", b"data")
    with pytest.raises(BadArtefact):
        objects.delete(["a/kept.json", "../out.json"])
    assert objects.read("a/kept.json") == b"data"
