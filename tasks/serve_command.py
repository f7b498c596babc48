"""``gradsieve serve``: Prefect's server, a worker and our deployments with one command."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tasks.errors import BadArtefact

# How often a child that ends is begun again before it is given up.
_LIVES = 3


class ServeCommand(BaseModel):
    """Start Prefect's server, a worker and the deployments, and keep them until Ctrl-C.

    What they know is kept in the lake (.prefect), and there again after a restart. Set PREFECT_SERVER_API_AUTH_STRING
    to user:password to close the API; where others can reach it, it must be. With GRADSIEVE_WEBHOOK set to an address
    (of Slack, or of what takes {"text": …}) it is called when a run has failed or a cleaning harms.
    """

    model_config = ConfigDict(extra="forbid")
    lake: Path = Field(default=Path("data"), description="Folder that holds runs, versions and the catalogue.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=4200, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(default=1, ge=1, le=64, description="Runs start on one of them; more need PostgreSQL.")
    database: str | None = Field(
        default=None, description="postgresql+asyncpg://user@host/name; default: SQLite in the lake."
    )

    def cli_cmd(self) -> None:
        """Serve until a signal comes."""
        from tasks.serving import served

        stopped = threading.Event()

        def stop(_signal: int, _frame: Any) -> None:
            stopped.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        lake = self.lake.expanduser().resolve()
        with served(lake, self.host, self.port, self.workers, self.database) as running:
            print(f"gradsieve: {running.address}, lake {lake}; logs in {running.home}. Ctrl-C stops it.")
            print(f"For gradsieve review and gradsieve watch: export PREFECT_API_URL={running.address}/api", flush=True)
            lives = _LIVES
            while not stopped.wait(1):
                name = running.ended()
                if name is None:
                    continue
                lives -= 1
                if name == "server" or not lives:
                    raise BadArtefact(
                        where=name,
                        expected="to run until it is stopped",
                        got=f"it ended with {running.children[name].returncode}",
                        do=f"See {running.home / name}.log.",
                    )
                running.start(name, *running.children[name].args[3:])  # type: ignore[index]
        print("gradsieve: stopped")
