"""`gitpat-proxy account`: who may own tokens."""

from typing import Annotated

import typer

from gitpat_proxy.access.model import Account
from gitpat_proxy.access.representation import account_object
from gitpat_proxy.cli.context import Json, invocation_of
from gitpat_proxy.cli.output import print_json, print_table, say

app = typer.Typer(no_args_is_help=True, help="Who may own tokens.")

Name = Annotated[str, typer.Argument(help="The account's name.")]


@app.command()
def add(
    context: typer.Context,
    name: Name,
    admin: Annotated[bool, typer.Option("--admin", help="An administrator.")] = False,
    service: Annotated[bool, typer.Option("--service", help="A service, not a person.")] = False,
    as_json: Json = False,
) -> None:
    """Add an account."""
    invocation = invocation_of(context)
    account = invocation.run(
        lambda services: services.accounts.add(
            name, administrator=admin, service=service, by=invocation.author
        )
    )
    _report(account, f"The account {name} is there.", as_json=as_json)


@app.command("list")
def list_accounts(context: typer.Context, as_json: Json = False) -> None:
    """List all accounts."""
    accounts = invocation_of(context).run(lambda services: services.accounts.listed())
    objects = [account_object(account) for account in accounts]
    if as_json:
        print_json(objects)
    elif not objects:
        say("There is no account yet; `gitpat-proxy account add NAME` makes one.")
    else:
        print_table(["name", "administrator", "service", "created_at", "disabled_at"], objects)


@app.command()
def disable(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Let none of an account's tokens open anything any more."""
    invocation = invocation_of(context)
    account = invocation.run(lambda services: services.accounts.disable(name, by=invocation.author))
    _report(account, f"The account {name} is disabled; its tokens open nothing now.", as_json=as_json)


@app.command()
def enable(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Undo disable."""
    invocation = invocation_of(context)
    account = invocation.run(lambda services: services.accounts.enable(name, by=invocation.author))
    _report(account, f"The account {name} is enabled.", as_json=as_json)


def _report(account: Account, sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(account_object(account))
    else:
        say(sentence)
