"""Serving in several processes, which gunicorn's arbiter starts, watches and replaces."""

import asyncio
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from ssl import SSLContext

import structlog
from aiohttp import web
from aiohttp.worker import GunicornWebWorker
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config as GunicornConfig
from gunicorn.glogging import Logger

from gitpat_proxy.access.model import Clock
from gitpat_proxy.serve.live import Live, Started, notify
from gitpat_proxy.serve.runner import make_runner
from gitpat_proxy.shared import Shared
from gitpat_proxy.store.errors import DatabaseError

_log = structlog.get_logger()

_PUSH_SECONDS = 60
"""How much longer than others a push may take that had arrived when the proxy was told to stop."""


def serve_with_workers(
    live: Live, sockets: Sequence[socket.socket], clock: Clock, started: Started
) -> None:
    """Serve until SIGTERM or SIGINT; raises SystemExit at the end, as gunicorn does."""
    with tempfile.TemporaryDirectory(prefix="gitpat-proxy-") as folder:
        shared = Path(folder) / "shared.db"
        _make(shared)
        application = _Application(live, clock, shared, started)
        arbiter = _Arbiter(application)
        arbiter.LISTENERS = list(sockets)
        # As if systemd had opened them all: their files are not for the arbiter to remove.
        arbiter.systemd = True
        arbiter.run()


def _make(shared: Path) -> None:
    """Workers that made it at the same time would be in each other's way."""
    first = Shared(shared)
    with first.transaction():
        pass
    first.close()


class _Application(BaseApplication):  # type: ignore[misc]
    """What the arbiter asks for its configuration, and a worker for what it serves."""

    def __init__(self, live: Live, clock: Clock, shared: Path, started: Started) -> None:
        self.live = live
        self._clock = clock
        self._shared = shared
        self._started = started
        self._dead: list[int] = []
        super().__init__()

    def load_config(self) -> None:
        config = self.live.config
        for name, value in {
            "worker_class": _Worker,
            "workers": config.workers,
            "graceful_timeout": config.drain_seconds + _PUSH_SECONDS,
            "control_socket_disable": True,
            "logger_class": _Logger,
            "when_ready": lambda _arbiter: asyncio.run(self._started()),
            "child_exit": lambda _arbiter, worker: self.child_exit(worker.pid),
            "certfile": config.tls and str(config.tls.certificate),
            "keyfile": config.tls and str(config.tls.key),
            "ssl_context": lambda _config, _default: (
                self.live.certificate and self.live.certificate.context
            ),
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[[], Awaitable[web.AppRunner]]:
        async def runner() -> web.AppRunner:
            return make_runner(self.live.config, self.live.access, Shared(self._shared), self._clock)

        return runner

    def child_exit(self, worker: int) -> None:
        """Take the operations of a dead worker away; where that fails, with the next look."""
        self._dead.append(worker)
        self.forget_the_dead()

    def forget_the_dead(self) -> None:
        if not self._dead:
            return
        shared = Shared(self._shared)
        try:
            for worker in list(self._dead):
                shared.forget(worker)
                self._dead.remove(worker)
        except DatabaseError as error:
            _log.error("places_not_given_back", workers=self._dead, reason=str(error))
        finally:
            shared.close()


class _Logger(Logger):  # type: ignore[misc]
    """Passes on what goes wrong, to where all goes that libraries say."""

    def setup(self, config: GunicornConfig) -> None:
        super().setup(config)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)


class _Arbiter(Arbiter):  # type: ignore[misc]
    """Exchanges what may be exchanged without ending the workers, and answers to systemd's watchdog."""

    def spawn_worker(self) -> int:
        try:
            return int(super().spawn_worker())
        except SystemExit as end:
            # In the worker, at its end: what lies around it is the arbiter's to clean up.
            os._exit(end.code if isinstance(end.code, int) else 0)

    def handle_hup(self) -> None:
        if self.app.live.reload():
            self.kill_workers(signal.SIGHUP)

    def handle_usr2(self) -> None:
        """A second arbiter would take other descriptors for its sockets: restart the service instead."""

    def murder_workers(self) -> None:
        super().murder_workers()
        self.app.forget_the_dead()
        # For the workers to come: one that begins while the file is broken has the rules from before.
        if self.app.live.config.access_file:
            asyncio.run(self.app.live.access.look())
        notify("WATCHDOG=1")


class _Worker(GunicornWebWorker):
    """One process that serves."""

    def init_signals(self) -> None:
        super().init_signals()
        self.loop.add_signal_handler(signal.SIGHUP, self.app.live.reload)

    async def _run(self) -> None:
        async with self.app.live.followed():
            # Also while it ends, which may take longer than the arbiter waits for a sign of life.
            living = asyncio.create_task(self._live())
            try:
                await super()._run()
            finally:
                living.cancel()

    async def _live(self) -> None:
        while True:
            self.notify()
            await asyncio.sleep(1)

    @staticmethod
    def _create_ssl_context(config: GunicornConfig) -> SSLContext:
        context: SSLContext = config.ssl_context(config, None)
        return context
