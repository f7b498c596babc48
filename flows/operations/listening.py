"""Where a server may listen, and what it must have to do so."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from flows.operations.page_server import LOOPBACK, PASSWORD, family_of
from tasks.core.errors import BadConfig

# By Prefect's own names, the newer first.
DATABASE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
_HIGHEST = 65_535
# With so many SQLite was measured; tests/benchmarks/README.md says how it holds.
_SQLITE_WORKERS = 4


def check(
    host: str, port: int, pages_port: int | None, workers: int, database: str | None, database_url: str | None
) -> None:
    """Refuse what would hang, lie open or tell a secret.

    Args:
        host: address to listen on.
        port: port to listen on.
        pages_port: port to show the pages of runs on; None for any.
        workers: how many.
        database: as the option names it.
        database_url: as the option or the environment names it.
    """
    if database and urlsplit(database).password:
        raise BadConfig(
            where="option database",
            expected="a URL without a password, which every user of this machine could read in the list of processes",
            got="one with a password",
            do=f"Put the password into PGPASSWORD, or the whole URL into {DATABASE[0]}.",
        )
    if workers > _SQLITE_WORKERS and not (database_url or "").startswith("postgresql"):
        raise BadConfig(
            where="option workers",
            expected=f"at most {_SQLITE_WORKERS} with SQLite, on which transactions stand in one line",
            got=str(workers),
            do="Name a database: --database postgresql+asyncpg://user@host/name, the password in PGPASSWORD.",
        )
    _check_password(host)
    for option, number in (("port", port), ("pages-port", pages_port)):
        problem = None if number is None else _unusable(host, number)
        if problem is not None:
            raise BadConfig(where=f"option {option} {number}", expected="a free one", got=problem, do="Name another.")


def _check_password(host: str) -> None:
    if os.environ.get(PASSWORD) == "":
        raise BadConfig(
            where=f"variable {PASSWORD}",
            expected="user:password, or no such variable",
            got="an empty one, by which Prefect's API would let nobody in",
            do=f"unset {PASSWORD}, or set it to user:password.",
        )
    if host not in LOOPBACK and not os.environ.get(PASSWORD):
        raise BadConfig(
            where=f"option host {host}",
            expected="a password where others can reach the API, for it runs what it is told",
            got=f"none in {PASSWORD}",
            do="Set it to user:password, or stay on 127.0.0.1.",
        )


def free_port(host: str, wanted: int) -> int:
    """The port that is wanted, or where it is taken any that is free."""
    if wanted <= _HIGHEST and _unusable(host, wanted) is None:
        return wanted
    with _socket(host) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def _unusable(host: str, port: int) -> str | None:
    """Why nobody can listen there; None if one can."""
    with _socket(host) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return str(error.strerror)
    return None


def _socket(host: str) -> socket.socket:
    return socket.socket(family_of(host))
