"""The commands by their names: the module of each is loaded when it is called, and not before."""

import pkgutil
from typing import Any, NamedTuple, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


class Place(NamedTuple):
    """Where a command or a group of commands is, as `module:name`, and what `--help` says of it."""

    found_at: str
    help: str


PLACES = {
    "demo": Place(
        "gitpat_proxy.cli.demo:demo",
        "Make repositories, a configuration, an account and two tokens; say what to try; serve.",
    ),
    "serve": Place(
        "gitpat_proxy.cli.serve:serve",
        "Serve until SIGTERM or Ctrl-C; SIGHUP has certificates, scopes, limits and rules read again.",
    ),
    "check": Place(
        "gitpat_proxy.cli.check:check",
        "Read the configuration and try every part of it; exit 1 if one fails.",
    ),
    "account": Place("gitpat_proxy.cli.account:app", "Who may own tokens, and who may sign in."),
    "access": Place("gitpat_proxy.cli.access:app", "What accounts may do."),
    "token": Place("gitpat_proxy.cli.token:app", "The life of a token."),
    "audit": Place("gitpat_proxy.cli.audit:app", "Who did what."),
    "explain": Place(
        "gitpat_proxy.cli.explain:explain",
        "Tell check by check, and by which rule, why an operation is, was or would be refused or not.",
    ),
    "database": Place("gitpat_proxy.cli.database:app", "The database."),
}


def loaded(name: str) -> TyperCommand | TyperGroup:
    """Return a command of the table as its module describes it."""
    found = pkgutil.resolve_name(PLACES[name].found_at)
    around = typer.Typer(add_completion=False, rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    return cast(TyperCommand | TyperGroup, get_group(around).commands[name])


class Commands(TyperGroup):
    """The group of all commands; names and help are known without their modules."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(**settings)
        for name, place in PLACES.items():
            self.add_command(TyperCommand(name, help=place.help))

    def resolve_command(
        self,
        ctx: Any,  # noqa: ANN401 - typer hides its type
        args: list[str],
    ) -> tuple[str, TyperCommand | TyperGroup, list[str]]:
        """Load the command that is called."""
        super().resolve_command(ctx, args)  # a name that is none ends here, as it always does
        return args[0], loaded(args[0]), args[1:]
