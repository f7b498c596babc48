"""A stage's folder is whole or not there; what is final is never changed; what was half-written is swept away."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.errors import BadArtefact, BadConfig
from tasks.pipeline import verified_files
from tasks.pipeline.artefacts import Run
from tasks.pipeline.durable_files import link_or_copy, sha256_of, write_durably


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path / "lake", "set")


def write(run: Run, text: str = "one", **facts):
    with run.draft("stage") as draft:
        draft.path("part/a.txt", rows=2).write_text(text)
        draft.path("b.txt", rows=3).write_text("two")
        return draft.commit(**facts)


def test_a_committed_stage_is_named_by_its_content_and_holds_its_manifest_last(run):
    artefact = write(run, about="x")
    folder = run.lake / artefact.folder
    assert folder.name == f"stage-{artefact.digest[:16]}"
    assert json.loads((folder / "manifest.json").read_text())["digest"] == artefact.digest
    assert [(file.name, file.rows, file.sha256) for file in artefact.files] == [
        ("part/a.txt", 2, sha256_of(folder / "part/a.txt")),
        ("b.txt", 3, sha256_of(folder / "b.txt")),
    ]
    assert artefact.rows == 5


def test_the_digest_depends_on_content_and_facts_and_on_nothing_else(run, tmp_path):
    elsewhere = Run.start(tmp_path / "other", "name")
    assert write(run).digest == write(elsewhere).digest
    assert len({write(run).digest, write(run, "uno").digest, write(run, fact=1).digest}) == 3


def test_the_same_content_twice_is_stored_once(run):
    first, second = write(run), write(run)
    assert first.folder == second.folder
    assert len(list((run.lake / "cache").iterdir())) == 1


def test_nothing_is_left_of_a_draft_that_fails(run):
    def fail() -> None:
        with run.draft("stage") as draft:
            draft.path("a.txt").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list((run.lake / "cache").iterdir()) == []


def test_a_missing_or_shortened_file_is_named_with_what_to_do(run):
    artefact = write(run)
    path = run.path(artefact)
    path.write_text("on")
    with pytest.raises(BadArtefact, match=r"expected 3 bytes.*got 2 bytes.*run again"):
        run.path(artefact)
    path.unlink()
    with pytest.raises(BadArtefact, match="no such file"):
        run.path(artefact)
    assert not run.intact(artefact)


def test_a_damaged_stage_is_put_aside_and_written_anew(run):
    artefact = write(run)
    run.path(artefact).unlink()
    again = write(run)
    assert again.digest == artefact.digest
    assert run.intact(again)
    assert [path for path in (run.lake / "cache").iterdir() if ".damaged-" in path.name]


def flip(path: Path) -> None:
    """One bit, as a disk may; the time of change stays what it was."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def forgetful(monkeypatch):
    """Another process, which has read no file yet."""
    monkeypatch.setattr(verified_files, "_KNOWN", set())


def test_a_flipped_bit_is_found_by_the_next_process_named_and_put_aside(run, forgetful, caplog):
    artefact = write(run)
    verified_files._KNOWN.clear()
    flip(run.lake / artefact.folder / artefact.files[0].name)
    with pytest.raises(BadArtefact, match=r"SHA-256 .*got other content"):
        run.path(artefact)
    with caplog.at_level("WARNING", "gradsieve"):
        assert not run.intact(artefact)
    assert f"damaged, and therefore made again: {run.lake / artefact.folder}" in caplog.text
    assert [".damaged-" in path.name for path in (run.lake / "cache").iterdir()] == [True]
    assert run.intact(write(run))


def test_a_damaged_file_under_the_right_digest_is_replaced_when_the_stage_is_written_again(run, forgetful):
    artefact = write(run)
    verified_files._KNOWN.clear()
    flip(run.lake / artefact.folder / artefact.files[0].name)
    assert run.path(write(run)).read_bytes() == b"one"


def test_a_damaged_file_is_not_taken_over_into_another_stage(run, forgetful):
    artefact = write(run)
    file, path = artefact.files[0], run.path(artefact)
    verified_files._KNOWN.clear()
    flip(path)
    with run.draft("next") as draft:
        draft.adopt(file, path)
        with pytest.raises(BadArtefact, match="other content"):
            draft.commit()


def test_a_recorded_run_that_is_damaged_stays_where_it_is(run, forgetful):
    artefact = write(run)
    shutil.copytree(run.lake / artefact.folder, run.lake / "runs" / "r1")
    recorded = artefact.model_copy(update={"folder": "runs/r1"})
    assert run.intact(recorded)
    verified_files._KNOWN.clear()
    flip(run.lake / "runs" / "r1" / artefact.files[0].name)
    assert not run.intact(recorded)
    assert (run.lake / "runs" / "r1").is_dir()


def test_a_file_is_read_once_in_a_process_under_all_its_names_and_never_where_so_set(run, forgetful, monkeypatch):
    artefact, read = write(run), []
    monkeypatch.setattr(verified_files, "sha256_of", lambda path: read.append(path) or sha256_of(path))
    run.paths(artefact)
    assert read == []  # it was hashed when it was written
    verified_files._KNOWN.clear()
    link_or_copy(run.path(artefact), run.lake / "runs" / "r1" / artefact.files[0].name)
    run.path(artefact.model_copy(update={"folder": "runs/r1"}), artefact.files[0])
    assert len(read) == 1
    verified_files._KNOWN.clear()
    flip(run.path(artefact))
    verified_files._KNOWN.clear()
    monkeypatch.setenv("GRADSIEVE_VERIFY", "size")
    assert run.intact(artefact)
    monkeypatch.setenv("GRADSIEVE_VERIFY", "never")
    with pytest.raises(BadConfig, match="expected content or size, got never"):
        run.path(artefact)


def test_a_shard_depends_only_on_its_file_and_the_facts_named(run):
    one, other = write(run, classes=["a"], rows=1), write(run, "uno", classes=["a"], rows=2)
    shards, others = one.shards("", "classes"), other.shards("", "classes")
    assert [shard.files[0].name for shard in shards] == ["part/a.txt", "b.txt"]
    assert shards[0].digest != others[0].digest
    assert shards[1].digest == others[1].digest


KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.pipeline.artefacts import Run
run = Run.start(Path(sys.argv[1]), "set")
with run.draft("stage") as draft:
    draft.path("a.txt").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_nothing_final_and_the_next_run_sweeps_up(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name.startswith(".partial") for path in (tmp_path / "cache").iterdir()] == [True]
    Run.start(tmp_path, "set")
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_living_process_is_writing_is_not_swept(run):
    with run.draft("stage") as draft:
        draft.path("a.txt").write_text("at work")
        Run.start(run.lake, "other")
        assert draft.commit().files[0].size == 7


FULL = """
import resource, sys
from pathlib import Path
from tasks.pipeline.artefacts import Run
run = Run.start(Path(sys.argv[1]), "set")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with run.draft("stage") as draft:
    draft.path("a.txt").write_bytes(b"x" * 5000)
    draft.commit()
"""


def test_a_write_that_the_disk_refuses_fails_and_leaves_nothing(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "OSError" in done.stderr
    assert list((tmp_path / "cache").iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_a_small_file_is_replaced_whole(tmp_path):
    path = tmp_path / "tags.json"
    for text in ("old", "new"):
        write_durably(path, text)
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["tags.json"]


LOGGING = """
import sys
from pathlib import Path
from tasks.pipeline.artefacts import Run
run = Run(lake=Path(sys.argv[1]), run_id="r")
for i in range(200):
    run.log({"writer": sys.argv[2], "i": i, "padding": "x" * 500})
"""


def test_lines_of_two_writers_never_mix_in_the_log(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", LOGGING, str(tmp_path), name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 400
    assert [line["i"] for line in lines if line["writer"] == "a"] == list(range(200))


def test_a_failure_enters_the_log_with_its_reason(run):
    with pytest.raises(ZeroDivisionError), run:
        _ = 1 / 0
    (line,) = [json.loads(line) for line in (run.lake / "log.jsonl").read_text().splitlines()]
    assert (line["state"], line["error"]) == ("failed", "ZeroDivisionError: division by zero")


def test_files_of_another_machine_are_not_swept(run):
    other = run.lake / "cache" / f".partial-elsewhere-{2**22}-abcd"
    other.mkdir()
    Run.start(run.lake, "set")
    assert other.is_dir()
    assert [path.name for path in (run.lake / "cache").iterdir()] == [other.name]
