"""`gitpat-proxy database`: the schema."""

import asyncio

import typer

from gitpat_proxy.cli.context import invocation_of
from gitpat_proxy.cli.output import say
from gitpat_proxy.store import database as store

app = typer.Typer(no_args_is_help=True, help="The database.")


@app.callback()
def group() -> None:
    """The database."""


@app.command()
def upgrade(context: typer.Context) -> None:
    """Make the schema, or bring it up to date."""
    config = invocation_of(context).config

    async def run() -> None:
        database = store.Database(config.database)
        try:
            await store.upgrade(database)
            await store.check_revision(database)
        finally:
            await database.close()

    asyncio.run(run())
    say(f"The database {config.database} is up to date.")
