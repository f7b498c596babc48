"""Prefect's server upon a SQLite on which every transaction that may write does so from its first statement.

    python -m flows.operations.prefect_server      with Prefect's own settings in the environment

Prefect begins most transactions deferred: they read first, and ask for the right to write when they write. If another
transaction has committed meanwhile, SQLite refuses at once, whatever its patience, with *database is locked*, and a
click in the UI fails. Prefect knows the remedy (``with_for_update``) and takes it for five of its transactions; here
it is taken for all of them. They stand in line for it, first come, first served: SQLite itself lets whoever asks at the
right moment go first. PostgreSQL is left as it is.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from weakref import WeakKeyDictionary

from prefect.cli import app
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from prefect.server.database.dependencies import set_database_config
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

log = logging.getLogger("prefect.server.gradsieve")
_LINES: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
_WRITER: ContextVar[asyncio.Task | None] = ContextVar("gradsieve_writer", default=None)


class SqliteInTurn(AioSqliteConfiguration):
    """Prefect's SQLite; its transactions are begun one after the other, and none has to ask for more later."""

    @asynccontextmanager
    async def begin_transaction(
        self, session: AsyncSession, with_for_update: bool = False
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        """See Prefect's."""
        if _WRITER.get() is asyncio.current_task():
            # Within a transaction of its own it would wait for itself; as Prefect does it, it may at least read.
            log.warning("A transaction is begun within a transaction", stack_info=True)
            async with super().begin_transaction(session, with_for_update) as transaction:
                yield transaction
            return
        line = _LINES.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        writer = _WRITER.set(asyncio.current_task())
        try:
            async with line, session.begin() as transaction:
                mode = SQLITE_BEGIN_MODE.set("IMMEDIATE")
                try:
                    await session.connection()
                finally:
                    # What this transaction starts, or reads beside itself, is no writer by that.
                    SQLITE_BEGIN_MODE.reset(mode)
                yield transaction
        finally:
            _WRITER.reset(writer)


def main() -> None:
    """Start it, as ``prefect server start`` does."""
    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    if url.startswith("sqlite"):
        set_database_config(SqliteInTurn(connection_url=url))
    sys.argv = ["prefect", "server", "start"]
    app()


if __name__ == "__main__":
    main()
