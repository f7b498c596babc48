"""Several workers share one PostgreSQL, where SQLite would lock them out."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from small_runs import SMALL_COMPARISON

pytestmark = pytest.mark.server
END = 90


@pytest.fixture
def postgres(tmp_path_factory):
    """The URL of a PostgreSQL of one's own, from Debian's package."""
    (found,) = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:] or [None]
    if found is None:
        pytest.skip("Debian's package postgresql is not installed")
    home = Path(tempfile.mkdtemp(prefix="gradsieve-pg-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # It refuses to be root.
    someone = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if someone:
        shutil.chown(home, "postgres")

    def run(*command: str) -> None:
        subprocess.run([*someone, *command], check=True, capture_output=True, text=True, cwd="/", timeout=END)

    run(str(found / "initdb"), "-D", str(home / "data"), "-A", "trust", "-U", "postgres")
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
    run(str(found / "pg_ctl"), "-D", str(home / "data"), "-l", str(home / "log"), "-o", options, "-w", "start")
    run(str(found / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "prefect")
    yield f"postgresql+asyncpg://postgres@127.0.0.1:{port}/prefect"
    run(str(found / "pg_ctl"), "-D", str(home / "data"), "-m", "fast", "stop")
    shutil.rmtree(home, ignore_errors=True)


def test_three_workers_share_postgresql(postgres, serve, tmp_path):
    # By Prefect's own setting; it works as --database as well.
    serving = serve(tmp_path / "lake", "--workers=3", anew=True, PREFECT_SERVER_DATABASE_CONNECTION_URL=postgres)
    try:
        named = [("weekly", {}), ("by-hand", SMALL_COMPARISON), ("weekly", {}), ("by-hand", SMALL_COMPARISON)]
        made = [serving.run(name, **given) for name, given in named]
        states = {"flow_runs": {"id": {"any_": made}}}
        serving.until(lambda: {r["state_type"] for r in serving.runs(**states)} == {"COMPLETED"}, "all to be done")
        home = tmp_path / "lake" / ".prefect"
        assert len(list(home.glob("worker-*.log"))) == 3
        assert not (home / "prefect.db").exists()
        assert "database is locked" not in serving.log("server")
    finally:
        assert serving.stop() == 0
