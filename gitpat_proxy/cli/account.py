"""`gitpat-proxy account`: who may own tokens, and who may sign in."""

import getpass
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from gitpat_proxy.access.model import Account
from gitpat_proxy.access.representation import account_object
from gitpat_proxy.cli.context import Json, invocation_of
from gitpat_proxy.cli.output import print_json, print_table, say
from gitpat_proxy.services.errors import ServiceError

app = typer.Typer(no_args_is_help=True, help="Who may own tokens, and who may sign in.")

Name = Annotated[str, typer.Argument(help="The account's name.", metavar="NAME")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read a password from standard input, one line.")
]


@app.command()
def add(
    context: typer.Context,
    name: Name,
    admin: Annotated[bool, typer.Option("--admin", help="An administrator.")] = False,
    service: Annotated[bool, typer.Option("--service", help="A service, not a person.")] = False,
    password_stdin: PasswordStdin = False,
    as_json: Json = False,
) -> None:
    """Add an account. Without --password-stdin it has no password yet, and can't sign in with one."""
    invocation = invocation_of(context)
    password = _line() if password_stdin else None
    account = invocation.run(
        lambda services: services.accounts.add(
            name, administrator=admin, service=service, password=password, by=invocation.author
        )
    )
    what = "service" if service else "account"
    sentence = f"The {what} {name} is there"
    if not service and not password_stdin:
        sentence += f"; `account password {name}` lets it sign in to the pages"
    _report(account, f"{sentence}.", as_json=as_json)


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
        columns = ["name", "administrator", "service", "has_password", "created_at", "disabled_at"]
        print_table(columns, objects)


@app.command()
def edit(
    context: typer.Context,
    name: Name,
    admin: Annotated[
        bool, typer.Option("--admin/--no-admin", help="An administrator, or not any more.")
    ],
    as_json: Json = False,
) -> None:
    """Make an account an administrator, or an ordinary one again."""
    invocation = invocation_of(context)
    account = invocation.run(
        lambda services: services.accounts.set_administrator(
            name, administrator=admin, by=invocation.author
        )
    )
    what = "an administrator" if admin else "no administrator"
    _report(account, f"{name} is {what}.", as_json=as_json)


@app.command()
def disable(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Let none of an account's tokens open anything any more, and nobody sign in to it."""
    invocation = invocation_of(context)
    account = invocation.run(lambda services: services.accounts.disable(name, by=invocation.author))
    since = f"{account.disabled_at:%Y-%m-%d %H:%M} UTC"
    _report(
        account,
        f"The account {name} is disabled since {since}; its tokens open nothing.",
        as_json=as_json,
    )


@app.command()
def enable(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Undo disable."""
    invocation = invocation_of(context)
    account = invocation.run(lambda services: services.accounts.enable(name, by=invocation.author))
    _report(account, f"The account {name} is enabled.", as_json=as_json)


@app.command()
def password(
    context: typer.Context, name: Name, password_stdin: PasswordStdin = False, as_json: Json = False
) -> None:
    """Give an account a password, and end its sessions."""
    invocation = invocation_of(context)

    account = invocation.run(lambda services: services.accounts.get(name))
    # Asked between the two: inside an event loop Ctrl-C would not end the prompt.
    new = _line() if password_stdin else _asked_twice(name)
    invocation.run(lambda services: services.accounts.set_password(name, new, by=invocation.author))
    account = replace(account, has_password=True)
    _report(account, f"{name} can sign in with the new password; other sessions ended.", as_json=as_json)


@app.command("import-htpasswd")
def import_htpasswd(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="What Apache's htpasswd made.", metavar="FILE", readable=False)
    ],
    as_json: Json = False,
) -> None:
    """Take over the people of an htpasswd file with their passwords.

    Exit code 1 if a line could not be used; the others are in.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        reason = f"{file} can't be read: {error.strerror}"
        raise ServiceError(f"{reason}; the user who runs this must be able to") from None
    except UnicodeError:
        raise ServiceError(
            f"{file} is no text in UTF-8; `htpasswd` writes one line for each name"
        ) from None
    invocation = invocation_of(context)
    done, problems = invocation.run(
        lambda services: services.accounts.import_htpasswd(lines, by=invocation.author)
    )
    for problem in problems:
        say(f"{file}: {problem}; left out")
    if as_json:
        print_json(done)
    else:
        say(f"{', '.join(done) or 'Nobody'} can sign in with the password that is in the file.")
    if problems:
        raise typer.Exit(1)


def _line() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _asked_twice(name: str) -> str:
    """Ask at the terminal, where what is typed does not show."""
    if not sys.stdin.isatty():
        raise ServiceError("there is no terminal to ask at; give the password with --password-stdin")
    first = getpass.getpass(f"New password of {name}: ")
    if first != getpass.getpass("Again: "):
        raise ServiceError("the two are not the same; nothing was changed")
    return first


def _report(account: Account, sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(account_object(account))
    else:
        say(sentence)
