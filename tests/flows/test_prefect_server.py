"""On SQLite a transaction that reads and then writes is never refused, whoever has written meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from sqlalchemy.exc import OperationalError

from flows.operations.prefect_server import SqliteInTurn


async def read_then_write_while_another_writes(configuration: AioSqliteConfiguration) -> int:
    """What the two have counted."""
    engine = await configuration.engine()
    async with engine.connect() as connection:
        await connection.execute(sa.text("CREATE TABLE counted (number INTEGER)"))
        await connection.execute(sa.text("INSERT INTO counted VALUES (0)"))
        await connection.commit()
    has_read = asyncio.Event()

    async def count_slowly() -> None:
        session = await configuration.session(engine)
        async with session, configuration.begin_transaction(session):
            (number,) = (await session.execute(sa.text("SELECT number FROM counted"))).one()
            has_read.set()
            await asyncio.sleep(0.2)
            await session.execute(sa.text("UPDATE counted SET number = :number"), {"number": number + 1})

    async def count() -> None:
        await has_read.wait()
        session = await configuration.session(engine)
        async with session, configuration.begin_transaction(session):
            await session.execute(sa.text("UPDATE counted SET number = number + 1"))

    try:
        await asyncio.gather(count_slowly(), count())
        async with engine.connect() as connection:
            return (await connection.execute(sa.text("SELECT number FROM counted"))).scalar_one()
    finally:
        await engine.dispose()


def url(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'prefect.db'}"


def test_both_are_counted(tmp_path):
    assert asyncio.run(read_then_write_while_another_writes(SqliteInTurn(url(tmp_path)))) == 2


def test_prefect_alone_refuses_the_slower_one_or_has_no_more_need_of_us(tmp_path):
    with pytest.raises(OperationalError, match="database is locked"):
        asyncio.run(read_then_write_while_another_writes(AioSqliteConfiguration(url(tmp_path))))


def test_what_a_transaction_reads_beside_itself_waits_for_nobody(tmp_path):
    async def read_beside() -> int | None:
        configuration = SqliteInTurn(url(tmp_path))
        engine = await configuration.engine()
        outer, inner = await configuration.session(engine), await configuration.session(engine)
        try:
            async with outer, inner, configuration.begin_transaction(outer):
                assert SQLITE_BEGIN_MODE.get() is None
                return (await inner.execute(sa.text("SELECT 1"))).scalar()
        finally:
            await engine.dispose()

    assert asyncio.run(asyncio.wait_for(read_beside(), 5)) == 1
