"""`gitpat-proxy database`: the schema."""

import asyncio

import typer

from gitpat_proxy.cli.context import invocation_of
from gitpat_proxy.cli.output import say
from gitpat_proxy.config.model import Config
from gitpat_proxy.store.database import Database
from gitpat_proxy.store.database import upgrade as upgrade_schema

app = typer.Typer(no_args_is_help=True, help="The database.")


@app.callback()
def group() -> None:
    """The database."""


@app.command()
def upgrade(context: typer.Context) -> None:
    """Make the schema, or bring it up to date."""
    config = invocation_of(context).config
    asyncio.run(make_current(config))
    say(f"The database {config.database} is up to date.")


async def make_current(config: Config) -> None:
    """Bring the configuration's database to this version's schema; raises DatabaseError."""
    async with Database(config.database) as database:
        await upgrade_schema(database)
