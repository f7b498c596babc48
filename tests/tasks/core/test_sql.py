"""Databases in memory: one for a folder at a time, of which each connection has its own part."""

from __future__ import annotations

import os
import signal

from tasks.core.sql import connect


def test_what_is_temporary_is_seen_by_no_other_connection_to_the_folder(tmp_path):
    with connect(tmp_path) as one, connect(tmp_path) as other:
        for number, db in enumerate((one, other)):
            db.execute(f"CREATE TEMP VIEW number AS SELECT {number} AS value")
        assert [db.sql("FROM number").fetchall() for db in (one, other)] == [[(0,)], [(1,)]]


def test_a_folder_has_one_database_as_long_as_anybody_is_connected(tmp_path):
    with connect(tmp_path) as one, connect(tmp_path) as other, connect(tmp_path / "another") as away:
        one.execute("CREATE TABLE told (x INT)")
        assert other.sql("FROM told").fetchall() == []
        assert away.sql("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]
    with connect(tmp_path) as anew:
        assert anew.sql("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]


def test_what_was_written_for_lack_of_memory_is_gone_with_the_last_connection(tmp_path):
    """And whoever comes next writes to a folder of their own."""
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        with connect(folder, 1 << 26) as db:
            db.execute("CREATE TEMP TABLE large AS SELECT i, repeat('x', 300) AS s FROM range(300000) t(i) ORDER BY -i")
            assert list((folder / ".sql").iterdir())
        assert not (folder / ".sql").exists()


def test_a_process_that_was_forked_asks_a_database_of_its_own(tmp_path):
    """It has none of the threads of one that was open before."""
    with connect(tmp_path) as db:
        db.execute("SELECT 1")
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        with connect(tmp_path) as db:
            # What is left so is closed, and that waits for its threads.
            db.execute("CREATE TABLE told (x INT)")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_query_keeps_to_its_memory_whoever_else_is_connected_with_more(tmp_path):
    with connect(tmp_path, 1 << 30) as much, connect(tmp_path, 1 << 27) as little:
        limits = [db.sql("SELECT current_setting('memory_limit')").fetchall()[0][0] for db in (much, little)]
        assert limits == ["1.0 GiB", "128.0 MiB"]
        assert little.sql("SELECT current_setting('temp_directory')").fetchall()[0][0] == str(tmp_path / ".sql")
