"""`gitpat-proxy audit`: who did what."""

import asyncio
import json
import re
from dataclasses import replace
from typing import Annotated, Any

import typer

from gitpat_proxy.access.lifetime import duration_of
from gitpat_proxy.access.model import AuditEvent, AuditFilter
from gitpat_proxy.access.representation import event_object
from gitpat_proxy.cli.context import Json, Services, invocation_of
from gitpat_proxy.cli.output import print_json, say, words
from gitpat_proxy.git.operation import typed_repository
from gitpat_proxy.services.audit import search, verify
from gitpat_proxy.services.clock import utc_now
from gitpat_proxy.services.errors import NotFoundError, ServiceError

_FOLLOW_SECONDS = 0.5

app = typer.Typer(invoke_without_command=True, help="Who did what.")


@app.callback()
def audit(
    context: typer.Context,
    since: Annotated[str, typer.Option(help="How far back: 30m, 24h, 7d, 2w.", metavar="TIME")] = "24h",
    token: Annotated[str | None, typer.Option(help="Only this token's.", metavar="ID")] = None,
    account: Annotated[str | None, typer.Option(help="Only this account's.", metavar="NAME")] = None,
    repository: Annotated[
        str | None, typer.Option(help="Only this repository's.", metavar="REPOSITORY")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show who did what: token life, clones, fetches, pushes with their refs, refusals."""
    if context.invoked_subcommand:
        return
    try:
        beginning = utc_now() - duration_of(since)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None
    wanted = AuditFilter(beginning, token, account, typed_repository(repository))

    async def show(services: Services) -> None:
        events = await search(services.database, wanted)
        if not events and not as_json:
            await _tell_what_is_not_there(services, token, account)
        if as_json and not follow:
            print_json([event_object(row_id, event) for row_id, event in events])
            return
        if not events and not follow:
            say(f"Nothing of that in the last {since}; `--since 30d` looks back 30 days.")
        last = _print_events(events, 0, as_json=as_json)
        while follow:
            await asyncio.sleep(_FOLLOW_SECONDS)
            newer = await search(services.database, replace(wanted, after_id=last))
            last = _print_events(newer, last, as_json=as_json)

    invocation_of(context).run(show)


async def _tell_what_is_not_there(services: Services, token: str | None, account: str | None) -> None:
    """A name that was mistyped must not look like one that did nothing."""
    for name, get in ((token, services.tokens.get), (account, services.accounts.get)):
        if name is not None:
            try:
                await get(name)
            except NotFoundError as error:
                say(f"Note that {error}.")


@app.command("verify")
def verify_chain(
    context: typer.Context,
    noted: Annotated[
        str | None,
        typer.Option(help="What an earlier run printed as its end.", metavar="ID:DIGEST"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow the chain that goes through the audit.

    Exit code 1 if a record was changed, removed or added since it was written; the first one is
    named. Note the end somewhere else, and give it to the next run: what is missing at the end, or
    was all made anew, shows only by that.
    """
    place = _noted(noted) if noted else None
    found = invocation_of(context).run(lambda services: verify(services.database, place))
    end = f"{found.last_id}:{found.digest}"
    if as_json:
        print_json({"events": found.events, "end": end, "broken": found.broken})
    if found.broken:
        raise ServiceError(f"{found.broken}; the {found.events} before are as they were written")
    if not as_json:
        print(f"{found.events} events, each as it was written. The end: {end}")


def _noted(text: str) -> tuple[int, str]:
    row_id, _, digest = text.partition(":")
    if not re.fullmatch("[0-9]{1,18}", row_id) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise typer.BadParameter("no end that `audit verify` printed", param_hint="--noted")
    return int(row_id), digest


def _print_events(events: list[tuple[int, AuditEvent]], last: int, *, as_json: bool) -> int:
    """Print the events as they come; return the last one's row id."""
    for row_id, event in events:
        text = json.dumps(event_object(row_id, event), ensure_ascii=False) if as_json else _text(event)
        print(text, flush=True)
        last = max(last, row_id)
    return last


def _text(event: AuditEvent) -> str:
    details: dict[str, Any] = dict(event.details)
    updates = details.pop("updates", [])
    changes = details.pop("changes", {})
    parts = [
        f"{event.at:%Y-%m-%d %H:%M:%S}",
        f"{event.event:16}",
        *(words(v) for v in (event.account, event.token, event.repository, event.address) if v),
        *(f"{key}={words(value)}" for key, value in details.items() if value is not None),
        *(f"{key}: {words(old)} -> {words(new)}" for key, (old, new) in changes.items()),
    ]
    return "\n".join(["  ".join(parts), *(f"    {_update_text(update)}" for update in updates)])


def _update_text(update: dict[str, str]) -> str:
    reason = f" ({words(update['reason'])})" if "reason" in update else ""
    names = f"{update['old'][:10]}..{update['new'][:10]}"
    return f"{words(update['ref'])}  {names}  {update['outcome']}{reason}"
