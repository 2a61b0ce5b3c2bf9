"""What every command needs: the configuration, the services, and who is asking."""

import asyncio
import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from gitpat_proxy.access.model import Author
from gitpat_proxy.config.loader import load
from gitpat_proxy.config.model import Config
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.clock import utc_now
from gitpat_proxy.services.passwords import Passwords
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store.database import Database, check_revision

Result = TypeVar("Result")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class Services:
    """The services over one open database; each is made when a command uses it."""

    database: Database
    config: Config

    @cached_property
    def accounts(self) -> Accounts:
        return Accounts(self.database, utc_now, Passwords())

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self.database, utc_now, self.config)


@dataclass(frozen=True)
class Invocation:
    """One run of the program with a configuration file."""

    config_file: Path

    @cached_property
    def config(self) -> Config:
        return load(self.config_file)

    @property
    def author(self) -> Author:
        """Who acts, as the audit calls them: whoever has a shell on the server.

        Not as the environment says, which anybody may set. In a container the user may have a number
        and no name.
        """
        try:
            user = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            user = f"user {os.getuid()}"
        return Author(f"{user} (command line)")

    def run(self, action: Callable[[Services], Awaitable[Result]]) -> Result:
        """Run an action with the services; raises what they raise."""
        return asyncio.run(self._run(action))

    @asynccontextmanager
    async def services(self) -> AsyncIterator[Services]:
        """Open the database; raises DatabaseError if it can't be used."""
        config = self.config
        async with Database(config.database) as database:
            await check_revision(database)
            yield Services(database, config)

    async def _run(self, action: Callable[[Services], Awaitable[Result]]) -> Result:
        async with self.services() as services:
            return await action(services)


def invocation_of(context: typer.Context) -> Invocation:
    """Return the invocation that the options before the command describe."""
    return Invocation(context.obj)
