"""`gitpat-proxy database`: the schema."""

import asyncio

import typer

from gitpat_proxy.cli.context import invocation_of
from gitpat_proxy.cli.output import say
from gitpat_proxy.config.model import Config
from gitpat_proxy.store.database import Database, revision_of
from gitpat_proxy.store.database import upgrade as upgrade_schema

app = typer.Typer(no_args_is_help=True, help="The database.")


@app.callback()
def group() -> None:
    """The database."""


@app.command()
def upgrade(context: typer.Context) -> None:
    """Make the schema, or bring it up to date."""
    config = invocation_of(context).config
    before, after = asyncio.run(_upgraded(config))
    say(f"The database {config.database} {outcome(before, after)}.")


async def _upgraded(config: Config) -> tuple[str | None, str | None]:
    """Return the migrations that the database was at and is at; raises DatabaseError."""
    async with Database(config.database) as database:
        before = await revision_of(database) if database.path.exists() else None
        await upgrade_schema(database)
        return before, await revision_of(database)


def outcome(before: str | None, after: str | None) -> str:
    """Say what became of a database, after its migrations."""
    if before is None:
        return "is made"
    return "was up to date already" if before == after else f"is upgraded from {before} to {after}"
