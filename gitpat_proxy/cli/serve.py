"""`gitpat-proxy serve`."""

import asyncio
from collections.abc import Awaitable, Callable

import typer

from gitpat_proxy.cli.context import invocation_of
from gitpat_proxy.config.model import Config
from gitpat_proxy.log import set_up_log
from gitpat_proxy.services.clock import utc_now


def serve(context: typer.Context) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    serve_in_foreground(invocation_of(context).config, _nothing_more)


def serve_in_foreground(config: Config, started: Callable[[], Awaitable[None]]) -> None:
    """Serve until SIGTERM or Ctrl-C; call `started` when it listens."""
    from gitpat_proxy.serve import serve as run  # noqa: PLC0415 - other commands start without it

    set_up_log()
    asyncio.run(run(config, utc_now, started))


async def _nothing_more() -> None:
    """The log says that it listens."""
