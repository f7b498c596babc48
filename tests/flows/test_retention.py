"""What Prefect knows of old runs goes, and so does the room it took."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from flows.operations.retention import server_variables, shrink

MIB = 1 << 20


@pytest.mark.parametrize(("gone", "shrinks"), [(0.9, True), (0.1, False)])
def test_a_database_that_is_mostly_empty_is_written_anew_and_another_is_left(tmp_path, gone, shrinks):
    path = tmp_path / "prefect.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE logs (number INTEGER, text BLOB)")
        connection.executemany("INSERT INTO logs VALUES (?, zeroblob(1048576))", [(number,) for number in range(20)])
        connection.execute("DELETE FROM logs WHERE number < ?", (20 * gone,))
        connection.commit()
    before = path.stat().st_size
    given_back = shrink(path)
    assert (given_back > 0) == shrinks
    assert before - path.stat().st_size == pytest.approx(given_back * MIB, abs=0.1 * MIB)


@pytest.mark.parametrize(("days", "of_events"), [(30, 7), (2, 2)])
def test_the_servers_settings_are_read_by_prefect_as_they_are_meant(monkeypatch, days, of_events):
    from prefect.settings.models.server import ServerSettings

    for name, value in server_variables(days).items():
        monkeypatch.setenv(name, value)
    settings = ServerSettings()
    assert settings.services.db_vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert settings.services.db_vacuum.retention_period == timedelta(days=days)
    assert settings.events.retention_period == timedelta(days=of_events)


def test_where_there_is_no_database_yet_there_is_nothing_to_do(tmp_path):
    assert shrink(tmp_path / "prefect.db") == 0
    assert not (tmp_path / "prefect.db").exists()
