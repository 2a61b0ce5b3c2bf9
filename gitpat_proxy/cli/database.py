"""`gitpat-proxy database`: the schema, backups."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gitpat_proxy.cli.context import Json, invocation_of
from gitpat_proxy.cli.output import print_json, say
from gitpat_proxy.config.model import Config
from gitpat_proxy.store.backup import back_up
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


@app.command()
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where to; nothing is there yet.", metavar="FILE")],
    as_json: Json = False,
) -> None:
    """Copy the database into a new file, also while it is in use.

    The copy is verified before it gets its name. To restore it: stop gitpat-proxy, put it in the
    database's place, without the -wal and -shm that lay beside the old one, and start.
    """
    made = back_up(Database(invocation_of(context).config.database).path, file)
    if as_json:
        print_json(vars(made) | {"file": str(made.file)})
    else:
        say(
            f"The backup {made.file} is complete: {made.bytes:,} bytes, schema {made.revision}, "
            f"{made.accounts} accounts, {made.tokens} tokens, {made.events} events."
        )


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
