"""Databases in memory: one for a folder at a time, of which each connection has its own part."""

from __future__ import annotations

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


def test_a_query_keeps_to_its_memory_whoever_else_is_connected_with_more(tmp_path):
    with connect(tmp_path, 1 << 30) as much, connect(tmp_path, 1 << 27) as little:
        limits = [db.sql("SELECT current_setting('memory_limit')").fetchall()[0][0] for db in (much, little)]
        assert limits == ["1.0 GiB", "128.0 MiB"]
        assert little.sql("SELECT current_setting('temp_directory')").fetchall()[0][0] == str(tmp_path / ".sql")
