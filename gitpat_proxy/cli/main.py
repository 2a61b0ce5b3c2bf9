"""The command `gitpat-proxy`: options before the command, and what becomes of errors."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gitpat_proxy import __version__
from gitpat_proxy.cli.commands import Commands
from gitpat_proxy.cli.output import say
from gitpat_proxy.config.errors import ConfigError
from gitpat_proxy.services.errors import ServiceError
from gitpat_proxy.store.errors import DatabaseError

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A Git smart-HTTP reverse proxy that enforces personal access tokens.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"gitpat-proxy {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path,
        typer.Option(
            envvar="GITPAT_PROXY_CONFIG",
            help="The configuration file.",
            metavar="FILE",
            # It is read soon enough, and what is said then is more.
            readable=False,
        ),
    ] = Path("config.yaml"),
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Take what every command needs."""
    del version
    context.obj = config


def main() -> None:
    """Run the command line. Exit code 0: done; 1: refused or failed; 2: wrong usage."""
    try:
        try:
            app()
        finally:
            _flush()
    except (ServiceError, ConfigError, DatabaseError, OSError) as error:
        say(f"gitpat-proxy: {error}")
        sys.exit(1)
    except UnicodeEncodeError:
        say("gitpat-proxy: an argument is not valid UTF-8")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _flush() -> None:
    """Write out what was printed; raise OSError, with a sentence, if that can't be."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python would try once more at its end, and say so in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(f"what was done is done, but can't be printed: {error.strerror}") from None
