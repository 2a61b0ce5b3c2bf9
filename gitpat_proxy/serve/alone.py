"""Serving in this process."""

import asyncio
import signal
import socket
from collections.abc import Sequence

from aiohttp import web

from gitpat_proxy.access.model import Clock
from gitpat_proxy.app import GATE
from gitpat_proxy.serve.live import Live, Started, keep_watchdog_quiet, notify
from gitpat_proxy.serve.runner import make_runner
from gitpat_proxy.serve.sockets import BACKLOG
from gitpat_proxy.shared import Shared


async def serve_alone(
    live: Live, sockets: Sequence[socket.socket], clock: Clock, started: Started
) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends also what is under way."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    runner = make_runner(live.config, live.access, Shared(), clock)

    def end() -> None:
        if stop.is_set():
            runner.app[GATE].cut_off()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, live.reload)
    await runner.setup()
    context = live.certificate.context if live.certificate else None
    watchdog = asyncio.create_task(keep_watchdog_quiet())
    try:
        for listening in sockets:
            await web.SockSite(runner, listening, ssl_context=context, backlog=BACKLOG).start()
        notify("READY=1")
        await started()
        async with live.followed():
            await stop.wait()
        notify("STOPPING=1")
    finally:
        await runner.cleanup()
        watchdog.cancel()
