"""Too little memory is told as that, and as nothing else."""

from __future__ import annotations

import errno

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.errors import BadInput
from tasks.core.memory import NoMemory, give_back, no_memory
from tasks.core.sql import connect
from tasks.pipeline.artefacts import Run


def _numpy() -> None:
    np.empty(1 << 60, np.uint8)


def _arrow() -> None:
    pa.allocate_buffer(1 << 60)


def _torch() -> None:
    import torch

    torch.empty(1 << 60, dtype=torch.uint8)


def _mapping() -> None:
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


@pytest.mark.parametrize("ask", [_numpy, _arrow, _torch, _mapping])
def test_every_library_s_way_of_saying_it_is_known(ask):
    with pytest.raises((MemoryError, RuntimeError, OSError)) as raised:
        ask()
    told = no_memory("flag", raised.value)
    assert told is not None
    assert str(told).startswith("flag: expected what it holds to fit into memory, got ")
    assert "--runner.workers 1" in told.do


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "no such file"), ValueError("7"), RuntimeError("shape")])
def test_other_errors_are_none_of_it(error):
    assert no_memory("flag", error) is None


def test_what_has_its_words_keeps_them():
    error = BadInput(where="a", expected="b", got="not enough memory", do="c")
    assert no_memory("flag", error) is None


def test_a_run_that_ends_so_says_it_also_in_its_log(tmp_path):
    with pytest.raises(NoMemory, match=r"run digits-.*fit into memory"), Run.start(tmp_path, "digits"):
        _numpy()
    assert "NoMemory" not in (log := (tmp_path / "log.jsonl").read_text())
    assert "fit into memory" in log


def test_a_query_that_needs_more_goes_on_upon_the_disk(tmp_path):
    """A million rows of a hundred letters are sorted, in less room than they take."""
    words = "SELECT md5(i::VARCHAR) || md5((i + 1)::VARCHAR) || md5((i + 2)::VARCHAR) AS word FROM range(1000000) t(i)"
    with connect(tmp_path, 1 << 26) as db:
        assert db.sql("SELECT current_setting('memory_limit')").fetchall() == [("64.0 MiB",)]
        ordered = f"SELECT word, row_number() OVER (ORDER BY word) FROM ({words})"
        sql = f"SELECT count(*), min(word), max(word) FROM ({ordered})"
        count, least, most = db.sql(sql).fetchall()[0]
    assert (count, len(least), least < most) == (1_000_000, 96, True)
    assert not any((tmp_path / ".sql").glob("*"))


def test_giving_back_changes_nothing_that_is_held():
    held = pa.array(np.arange(1000))
    give_back()
    assert held.to_pylist() == list(range(1000))
