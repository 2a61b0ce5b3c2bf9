"""`gitpat-proxy token`: the life of a token."""

import getpass
import sys
from contextlib import suppress
from enum import StrEnum
from typing import Annotated

import typer

from gitpat_proxy.access.model import Status, Token
from gitpat_proxy.access.policy import decide_alive
from gitpat_proxy.access.representation import token_object
from gitpat_proxy.cli.context import Json, Services, invocation_of
from gitpat_proxy.cli.output import print_json, print_object, print_table, say
from gitpat_proxy.services.clock import utc_now
from gitpat_proxy.services.errors import ServiceError
from gitpat_proxy.services.token_facts import TokenFacts

app = typer.Typer(no_args_is_help=True, help="The life of a token.")

_NO_TOKEN = "it is no token of this proxy"  # noqa: S105 - a sentence


class StatusFilter(StrEnum):
    """What `token list --status` takes."""

    ACTIVE = "active"
    PENDING = "pending"
    EXPIRED = "expired"
    REVOKED = "revoked"
    ALL = "all"


Id = Annotated[str, typer.Argument(help="The token's id, as `token list` shows it.", metavar="ID")]
Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", help="What it is for, as code:read. May be repeated.", metavar="SCOPE"),
]
Expires = Annotated[
    str | None, typer.Option("--expires", help="90d, 12h, a date, a time, or never.", metavar="WHEN")
]
NotBefore = Annotated[
    str | None,
    typer.Option(
        "--not-before", help="From when on it is valid: 12h, a date, a time, or any.", metavar="TIME"
    ),
]
Addresses = Annotated[
    list[str] | None,
    typer.Option(
        "--from", help="Networks it may be used from, or any. May be repeated.", metavar="CIDR"
    ),
]
Repositories = Annotated[
    list[str] | None,
    typer.Option(
        "--repository",
        help="Repositories that it reaches, as team/app, 'team/*', 'team/**' or '!team/secret', or any. "
        "May be repeated.",
        metavar="PATTERN",
    ),
]
Refs = Annotated[
    list[str] | None,
    typer.Option(
        "--ref",
        help="Refs that it may push to, and how: 'refs/heads/agent/**=create,update,force,delete', or "
        "any; without =VERBS create and update. The first that matches holds. May be repeated.",
        metavar="PATTERN[=VERBS]",
    ),
]
Uses = Annotated[
    str | None,
    typer.Option("--uses", help="After so many clones and pushes it ends; or any.", metavar="N"),
]


@app.command()
def create(
    context: typer.Context,
    account: Annotated[str, typer.Option("--account", help="Whose token.", metavar="NAME")],
    name: Annotated[str, typer.Option("--name", help="What it is called.", metavar="TEXT")],
    scope: Scopes = None,
    expires: Expires = None,
    not_before: NotBefore = None,
    addresses: Addresses = None,
    repositories: Repositories = None,
    refs: Refs = None,
    uses: Uses = None,
    as_json: Json = False,
) -> None:
    """Make a token; its secret is printed, once."""
    invocation = invocation_of(context)
    facts = TokenFacts(name, scope, expires, not_before, addresses, repositories, refs, uses)
    secret, token = invocation.run(
        lambda services: services.tokens.create(account, facts, by=invocation.author)
    )
    _print_secret(secret, token, as_json=as_json)


@app.command()
def derive(
    context: typer.Context,
    name: Annotated[str, typer.Option("--name", help="What it is called.", metavar="TEXT")],
    scope: Scopes = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires", help="15m unless it is given; 2h, a date, a time, or never.", metavar="WHEN"
        ),
    ] = None,
    not_before: NotBefore = None,
    addresses: Addresses = None,
    repositories: Repositories = None,
    refs: Refs = None,
    uses: Uses = None,
    as_json: Json = False,
) -> None:
    """Make a token out of the one whose secret is on standard input, which needs tokens:delegate.

    It never does more, nor lives longer; what is not given is as that one has it.
    """
    facts = TokenFacts(name, scope, expires, not_before, addresses, repositories, refs, uses)
    secret = _secret_on_input()
    invocation = invocation_of(context)

    async def action(services: Services) -> tuple[str, Token]:
        found = await services.tokens.find(secret)
        if found is None:
            raise ServiceError(_NO_TOKEN)
        return await services.tokens.derive(found[0].id, facts, by=invocation.author)

    _print_secret(*invocation.run(action), as_json=as_json)


@app.command("list")
def list_tokens(
    context: typer.Context,
    account: Annotated[
        str | None, typer.Option("--account", help="Only this account's.", metavar="NAME")
    ] = None,
    status: Annotated[StatusFilter, typer.Option(help="Only those.")] = StatusFilter.ACTIVE,
    as_json: Json = False,
) -> None:
    """List tokens, the active ones unless told otherwise."""
    wanted = None if status is StatusFilter.ALL else Status(status.value)
    tokens = invocation_of(context).run(lambda services: services.tokens.listed(account, wanted))
    now = utc_now()
    objects = [token_object(token, now) for token in tokens]
    if as_json:
        print_json(objects)
    elif not objects:
        say("There is none; `gitpat-proxy token create` makes one, `--status all` lists all.")
    else:
        columns = ["id", "account", "name", "scopes", "status", "expires_at", "last_used_at"]
        parent = ["parent"] if any(item["parent"] for item in objects) else []
        print_table(columns + parent, objects)


@app.command()
def show(context: typer.Context, token_id: Id, as_json: Json = False) -> None:
    """Show all that is known of a token."""
    _print_token(invocation_of(context).run(lambda services: services.tokens.get(token_id)), as_json)


@app.command()
def edit(
    context: typer.Context,
    token_id: Id,
    name: Annotated[
        str | None, typer.Option("--name", help="What it is called.", metavar="TEXT")
    ] = None,
    scope: Scopes = None,
    expires: Expires = None,
    not_before: NotBefore = None,
    addresses: Addresses = None,
    repositories: Repositories = None,
    refs: Refs = None,
    uses: Uses = None,
    as_json: Json = False,
) -> None:
    """Replace what is given; the secret stays, and the next request is judged by what holds now."""
    facts = TokenFacts(name, scope, expires, not_before, addresses, repositories, refs, uses)
    if facts == TokenFacts():
        raise typer.BadParameter(
            "give at least one of --name, --scope, --expires, --not-before, --from, --repository, "
            "--ref, --uses"
        )
    invocation = invocation_of(context)
    token = invocation.run(lambda services: services.tokens.edit(token_id, facts, by=invocation.author))
    _print_token(token, as_json)


@app.command()
def revoke(
    context: typer.Context,
    token_ids: Annotated[list[str], typer.Argument(help="The tokens' ids.", metavar="ID")],
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why; whoever uses it next reads it.", metavar="TEXT")
    ] = None,
    as_json: Json = False,
) -> None:
    """End tokens for good: when this returns they open nothing any more."""
    invocation = invocation_of(context)

    async def action(services: Services) -> tuple[set[str], list[Token]]:
        before = await _revoked_among(token_ids, services)
        return before, await services.tokens.revoke(token_ids, reason, by=invocation.author)

    before, tokens = invocation.run(action)
    if as_json:
        print_json([token_object(token, utc_now()) for token in tokens])
    for token in tokens:
        if token.id in before:
            say(_revoked_before(token))
        elif not as_json:
            say(f"The token {token.label} is revoked.")


@app.command()
def rotate(context: typer.Context, token_id: Id, as_json: Json = False) -> None:
    """Give a token a new secret, printed once; the old one is dead at once."""
    invocation = invocation_of(context)
    secret, token = invocation.run(
        lambda services: services.tokens.rotate(token_id, by=invocation.author)
    )
    _print_secret(secret, token, as_json=as_json)


@app.command()
def inspect(context: typer.Context, as_json: Json = False) -> None:
    """Tell whose the secret on standard input is, what it may, and whether it is valid.

    Exit code 0 if it is valid, 1 if it is not.
    """
    secret = _secret_on_input()
    found = invocation_of(context).run(lambda services: services.tokens.find(secret))
    if found is None:
        raise ServiceError(_NO_TOKEN)
    token, account = found
    now = utc_now()
    refusal = decide_alive(token, account, now)
    validity = {
        "valid": refusal is None,
        "code": refusal.code.value if refusal else None,
        "reason": refusal.sentence if refusal else None,
    }
    (print_json if as_json else print_object)(token_object(token, now) | validity)
    if refusal:
        raise ServiceError(refusal.sentence)


def _secret_on_input() -> str:
    return (_typed_secret() if sys.stdin.isatty() else sys.stdin.readline()).strip()


def _typed_secret() -> str:
    """What is pasted must not stay on the screen."""
    try:
        return getpass.getpass("Paste the secret (it is not shown) and press Enter: ")
    except EOFError:
        return ""


async def _revoked_among(token_ids: list[str], services: Services) -> set[str]:
    revoked = set()
    for token_id in token_ids:
        with suppress(ServiceError):
            if (await services.tokens.get(token_id)).revoked_at:
                revoked.add(token_id)
    return revoked


def _revoked_before(token: Token) -> str:
    """A new reason is not taken; it must not seem to be."""
    reason = f"its first reason: {token.revoked_reason}" if token.revoked_reason else "no reason"
    return f"The token {token.label} was revoked before, on {token.revoked_at:%Y-%m-%d}, with {reason}."


def _print_secret(secret: str, token: Token, *, as_json: bool) -> None:
    """The secret alone goes to standard output, so that a script can take it from there."""
    if as_json:
        print_json(token_object(token, utc_now()) | {"token": secret})
        return
    until = f"until {token.ends_at:%Y-%m-%d %H:%M} UTC" if token.ends_at else "without end"
    say(
        f"The token {token.label} of {token.account}, for {', '.join(sorted(token.scopes))}, {until}.\n"
        "This is its secret; it is not shown again. Give it as the password, with any username:"
    )
    print(secret)


def _print_token(token: Token, as_json: bool) -> None:
    (print_json if as_json else print_object)(token_object(token, utc_now()))
