"""Listening sockets, TLS, signals, and a clean end. Knows nothing of Git."""

import asyncio
import os
import resource
import signal
import ssl
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import hdrs, web

from gitpat_proxy.access.model import Clock
from gitpat_proxy.app import make_app
from gitpat_proxy.config.model import Config, Tls
from gitpat_proxy.config.values import ListenAddress
from gitpat_proxy.store.database import Database, check_revision, revision_of, upgrade

_SHUTDOWN_SECONDS = 2.0
"""How long aiohttp waits at the end, twice: for what is under way, and for what it then cancels.

A push that has arrived takes what it needs."""
_KEEPALIVE_SECONDS = 75.0
"""How long a connection may be idle, or take to send a request's head."""
_LINGERING_SECONDS = 2.0
"""How long the rest of a refused request's body is read, so that the refusal can be."""
_NOT_HTTP = "This is no request that HTTP/1.1 allows.\n"

_log = structlog.get_logger()


async def serve(config: Config, clock: Clock, started: Callable[[], Awaitable[None]]) -> None:
    """Serve until SIGTERM or SIGINT; call `started` when the sockets listen.

    Raises OSError or DatabaseError, with a sentence, if it can't begin.
    """
    _use_all_descriptors()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Database(config.database) as database:
        await _prepare(database)
        runner = _Runner(
            make_app(config, database, clock),
            access_log=None,
            # git inflates bodies itself; aiohttp would do it and leave the header.
            auto_decompress=False,
            handler_cancellation=True,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            lingering_time=_LINGERING_SECONDS,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        try:
            await _listen(runner, config)
            await started()
            await stop.wait()
            _log.info("stopping")
        finally:
            await runner.cleanup()


class _Connection(web.RequestHandler):
    """A connection that tells those who send no HTTP so in our own words."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer without what aiohttp would: its version, and the line that it could not read."""
        response = super().handle_error(request, status, exc, message)
        if status != 400:
            return response
        answer = web.Response(status=status, text=_NOT_HTTP, headers={hdrs.SERVER: "gitpat-proxy"})
        answer.force_close()
        return answer


class _Server(web.Server):
    """Makes such connections."""

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    """Serves an application by them."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        return server


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and later; raise OSError with a sentence if the files don't do."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        raise OSError(f"tls: {tls.certificate} and {tls.key} can't be used: {error}") from None
    return context


def _use_all_descriptors() -> None:
    """Each connection and each git takes some; the usual soft limit of 1,024 is for select()."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _prepare(database: Database) -> None:
    """Make the tables in an empty database; an old one is left to its owner's decision."""
    if not database.path.exists() or await revision_of(database) is None:
        await upgrade(database)
    await check_revision(database)


async def _listen(runner: web.AppRunner, config: Config) -> None:
    context = tls_context(config.tls) if config.tls else None
    for address in config.listen:
        try:
            await _site(runner, address, context).start()
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else str(error)
            raise OSError(f"can't listen on {address}: {why}; `listen` names where") from None
        _log.info("listening", on=str(address), tls=context is not None)


def _site(runner: web.AppRunner, address: ListenAddress, context: ssl.SSLContext | None) -> web.BaseSite:
    if address.path:
        return web.UnixSite(runner, address.path, ssl_context=context)
    return web.TCPSite(runner, address.host, address.port, ssl_context=context)
