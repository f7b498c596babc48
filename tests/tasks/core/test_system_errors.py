"""A disk that is full, read-only or broken, and memory that is used up, are a sentence with a code of its own."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import duckdb
import pytest

from flows.__main__ import main
from tasks.core.errors import BadInput, NoDisk, printable
from tasks.core.memory import NoMemory
from tasks.core.system_errors import in_words
from tasks.pipeline.artefacts import Run
from tasks.pipeline.lake_check import refusal


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "Make room"),
        (errno.EDQUOT, "Make room"),
        (errno.EROFS, "Mend its permissions"),
        (errno.EACCES, "Mend its permissions"),
        (errno.EIO, "see the system's log"),
    ],
)
def test_what_a_disk_refuses_names_the_file_and_what_to_do(number, words):
    told = in_words(OSError(number, os.strerror(number), "/lake/cache/x"))
    assert isinstance(told, NoDisk)
    assert (told.where, told.exit_code) == ("/lake/cache/x", 7)
    assert words in told.do


def test_libraries_that_pass_on_the_systems_words_are_understood():
    class ForeignError(Exception):
        __module__ = "obstore"

    assert isinstance(in_words(ForeignError("Generic: No space left on device (os error 28)")), NoDisk)
    assert isinstance(in_words(duckdb.IOException("Could not write: Read-only file system")), NoDisk)
    assert isinstance(in_words(duckdb.TransactionException("Failed to commit: No space left on device")), NoDisk)
    assert isinstance(in_words(duckdb.FatalException("FATAL Error: fsync failed!")), NoDisk)
    assert isinstance(in_words(OSError("Error writing bytes to file: No space left on device")), NoDisk)
    assert isinstance(in_words(RuntimeError("DefaultCPUAllocator: can't allocate memory")), NoMemory)
    assert isinstance(in_words(MemoryError()), NoMemory)


def test_the_disk_is_found_behind_what_it_led_to():
    error = RuntimeError("the stage failed")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert isinstance(in_words(error), NoDisk)


def test_a_bug_beside_a_disk_that_refuses_stays_a_bug():
    def stumble() -> None:
        try:
            raise PermissionError(errno.EACCES, "Permission denied")
        except PermissionError:
            {}["x"]

    with pytest.raises(KeyError) as caught:
        stumble()
    assert isinstance(caught.value.__context__, PermissionError)
    assert in_words(caught.value) is None


def test_what_a_server_or_the_code_of_a_run_denies_is_no_disk():
    class HTTPStatusError(Exception):
        __module__ = "httpx"

    class InsufficientPrivilegeError(OSError):
        __module__ = "psycopg.errors"

    assert in_words(HTTPStatusError("403 permission denied")) is None
    assert in_words(InsufficientPrivilegeError("permission denied for table flow_run")) is None
    assert in_words(RuntimeError("permission denied")) is None


def test_an_interruption_while_a_disk_refuses_stays_one(tmp_path):
    run = Run.start(tmp_path, "fruit")
    with pytest.raises(KeyboardInterrupt), run:
        raise KeyboardInterrupt from OSError(errno.ENOSPC, "No space left on device")
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["error"].startswith("KeyboardInterrupt")


def test_other_errors_stay_what_they_are():
    assert in_words(FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert in_words(ValueError("no space left on device")) is None
    assert in_words(BadInput(where="a", expected="b", got="c", do="d")) is None


def test_a_run_whose_disk_is_full_ends_in_words_and_its_log_says_so(tmp_path):
    run = Run.start(tmp_path, "fruit")
    with pytest.raises(NoDisk, match="no space left on device"), run, Path("/dev/full").open("w") as file:
        file.write("x" * 100_000)
    line = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert (line["state"], "NoDisk" in line["error"], "Make room" in line["error"]) == ("failed", False, True)


def test_a_command_whose_output_has_no_room_ends_with_the_code_of_disks(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.csv").write_text("a,b,label\n" + "".join(f"{i % 7},{i % 5},{'xy'[i % 2]}\n" for i in range(40)))
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main(["inspect", str(tmp_path / "a.csv")]) == 7
        monkeypatch.undo()
        assert "no space left on device" in capsys.readouterr().err
        with pytest.raises(OSError, match="No space"):
            full.close()


def test_a_lake_on_a_disk_that_refuses_is_told_with_that_code_and_one_that_is_a_file_as_an_option():
    assert refusal(Path("lake"), "/lake", OSError(errno.EROFS, "Read-only file system")).exit_code == 7
    assert refusal(Path("lake"), "/lake", OSError(errno.ENOTDIR, "Not a directory")).exit_code == 2


def test_words_of_somebody_else_move_no_cursor():
    assert printable("a\x1b]0;x\x07\u202eb\ud800é\n") == "a\\x1b]0;x\\x07\\u202eb\\ud800é\n"
