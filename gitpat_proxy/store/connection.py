"""A connection to the database whose statements the event loop does not wait for."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, TypeAlias, TypeVar, TypeVarTuple

import sqlalchemy as sa

from gitpat_proxy.threads import in_thread

Rows: TypeAlias = sa.Result[*tuple[Any, ...]]
Parameters: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Connection:
    """One of SQLAlchemy's, used in threads, by one statement after the other.

    SQLAlchemy's own asyncio extension does the same with greenlets, and loads its ORM for it: 6 MiB.
    """

    def __init__(self, connection: sa.Connection, threads: Executor) -> None:
        self._connection = connection
        self._threads = threads

    async def execute(self, statement: sa.Executable, parameters: Parameters | None = None) -> Rows:
        """Return all rows that the statement finds; none where it finds nothing but does something."""
        return await self.run_sync(lambda connection: _whole(connection.execute(statement, parameters)))

    async def exec_driver_sql(self, statement: str, parameters: tuple[object, ...] = ()) -> Rows:
        """Do the same for SQL as text."""
        return await self.run_sync(
            lambda connection: _whole(connection.exec_driver_sql(statement, parameters))
        )

    async def run_sync(
        self, function: Callable[[sa.Connection, *Arguments], Result], *arguments: *Arguments
    ) -> Result:
        """Return what a function does with the connection, all in one thread.

        Who has been cancelled meanwhile is so before the next one is begun.
        """
        await asyncio.sleep(0)
        return await in_thread(self._threads, function, self._connection, *arguments)


def _whole(result: sa.CursorResult[*tuple[Any, ...]]) -> Rows:
    """Read all of it while it is the thread that waits."""
    return result.freeze()() if result.returns_rows else result
