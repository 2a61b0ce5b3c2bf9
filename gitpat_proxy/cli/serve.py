"""`gitpat-proxy serve`."""

import asyncio
import resource
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import typer

from gitpat_proxy.cli.context import invocation_of
from gitpat_proxy.config.loader import load
from gitpat_proxy.config.model import Config
from gitpat_proxy.log import set_up_log
from gitpat_proxy.services.clock import utc_now


def serve(context: typer.Context) -> None:
    """Serve until SIGTERM or Ctrl-C; SIGHUP has certificates, scopes, limits and rules read again."""
    invocation = invocation_of(context)
    serve_in_foreground(invocation.config, lambda: load(invocation.config_file), _nothing_more)


def serve_in_foreground(
    config: Config, load_again: Callable[[], Config], started: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Serve until SIGTERM or Ctrl-C; call `started` when it listens.

    Raises OSError or DatabaseError, with a sentence, if it can't begin.
    """
    # Other commands start without them.
    from gitpat_proxy.serve.alone import serve_alone  # noqa: PLC0415
    from gitpat_proxy.serve.live import Live  # noqa: PLC0415
    from gitpat_proxy.serve.preparation import prepare  # noqa: PLC0415
    from gitpat_proxy.serve.sockets import listening_sockets  # noqa: PLC0415

    set_up_log()
    # What it orders is done anyway as long as nothing is served.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _use_all_descriptors()
    asyncio.run(prepare(config))
    live = Live(config, load_again)
    with listening_sockets(config) as sockets:
        if config.workers == 1:
            asyncio.run(serve_alone(live, sockets, utc_now, started))
        else:
            from gitpat_proxy.serve.workers import serve_with_workers  # noqa: PLC0415

            serve_with_workers(live, sockets, utc_now, started)


def _use_all_descriptors() -> None:
    """Each connection and each git takes some; the usual soft limit of 1,024 is for select()."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _nothing_more() -> None:
    """The log says that it listens."""
