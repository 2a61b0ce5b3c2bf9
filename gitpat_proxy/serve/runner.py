"""An application on connections of our own, with a clean end."""

import asyncio

import structlog
from aiohttp import hdrs, web

from gitpat_proxy.access.model import Clock
from gitpat_proxy.app import GATE, SHORTCUT, make_app
from gitpat_proxy.backends.base import LONGEST_PIECE
from gitpat_proxy.config.model import Config
from gitpat_proxy.git.plain_request import PlainRequest
from gitpat_proxy.services.access import Access
from gitpat_proxy.shared import Shared
from gitpat_proxy.shortcut import Reply, Shortcut
from gitpat_proxy.store.database import Database

_SHUTDOWN_SECONDS = 2.0
"""How long aiohttp waits at the end, twice, for what was cut off by then.

A push that has arrived takes what it needs."""
_KEEPALIVE_SECONDS = 75.0
"""How long a connection may be idle, or take to send a request's head."""
_LINGERING_SECONDS = 2.0
"""How long the rest of a refused request's body is read, so that the refusal can be."""
_LONGEST_ANSWER = 4 * 1024 * 1024
_MOST_LONG_ANSWERS = 32
"""So many connections may be in the middle of one: who is slow holds it, though nobody else needs it."""
_NOT_HTTP = "This is no request that HTTP/1.1 allows.\n"

_log = structlog.get_logger()


def make_runner(config: Config, access: Access, shared: Shared, clock: Clock) -> "Runner":
    """Put together what one process serves."""
    return Runner(make_app(config, access, Database(config.database), shared, clock), config)


class _Connection(web.RequestHandler):
    """A connection that tells those who send no HTTP so in our own words.

    It remembers its other end, which a client that leaves at once would take away with it.
    """

    __slots__ = ("_is_between_requests", "_peername", "_rest", "long_answers", "shortcut")

    shortcut: Shortcut
    long_answers: "set[_Connection]"
    """Those of all connections that have a rest of an answer to send."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._peername = transport.get_extra_info("peername")
        self._is_between_requests = True
        self._rest = memoryview(b"")
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._leave_off()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Answer a request that comes in one piece by the shortcut, if that can.

        Only between two requests: as long as every piece before was a whole one, the HTTP parser has
        nothing either that would belong to this one.
        """
        if self._is_between_requests and data:
            request = self.shortcut.plain(data)
            self._is_between_requests = request is not None
            if request and self._is_idle and (answer := self._answer(request)):
                self._send(answer)
                return
        super().data_received(data)

    def _send(self, answer: Reply) -> None:
        """Send it piece by piece: the transport would keep a copy of what a client does not take."""
        if self.transport is None:
            return
        if len(answer.body) <= LONGEST_PIECE:
            self.transport.write(answer.head + answer.body)
        else:
            self.transport.write(answer.head)
            self._rest = memoryview(answer.body)
            self.long_answers.add(self)
            # What the client sends next has its turn when this one has been sent.
            self.transport.pause_reading()
            self._send_rest()
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout

    def _send_rest(self) -> None:
        while self._rest and self.transport and not self.writing_paused:
            piece, self._rest = self._rest[:LONGEST_PIECE], self._rest[LONGEST_PIECE:]
            self.transport.write(piece)
        if not self._rest:
            self._leave_off()
            self._resume_transport_reading()

    def _leave_off(self) -> None:
        self._rest = memoryview(b"")
        self.long_answers.discard(self)

    def resume_writing(self) -> None:
        """Go on with a long answer."""
        super().resume_writing()
        if self._rest:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
            self._send_rest()

    def close(self) -> None:
        """Take no further request; what is being answered is sent to its end."""
        if self._rest and self.transport:
            self.transport.write(self._rest)
            self._leave_off()
        super().close()

    @property
    def _is_idle(self) -> bool:
        """Tell whether all that came before is answered, and taken by the client."""
        is_waiting = self._waiter is not None and not self._waiter.done()
        return is_waiting and not (self._close or self._force_close or self.writing_paused)

    def _answer(self, request: PlainRequest) -> Reply | None:
        match self._peername:
            case (str(peer), *_):
                address: str | None = peer
            case "":
                address = None
            case _:
                return None
        try:
            longest = _LONGEST_ANSWER if len(self.long_answers) < _MOST_LONG_ANSWERS else LONGEST_PIECE
            return self.shortcut.answer(request, address, longest)
        except Exception:
            # The outermost edge: the gate meets it again, and tells the client.
            _log.exception("shortcut_failed")
            return None

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
    """Makes such connections, with the limits of the moment."""

    config: Config
    shortcut: Shortcut
    long_answers: set[_Connection]

    def __call__(self) -> web.RequestHandler:
        limits = self.config.limits
        connection = _Connection(
            self,
            loop=self._loop,
            max_line_size=limits.request_line_bytes,
            max_field_size=limits.header_bytes,
            max_headers=limits.headers,
            **self._kwargs,
        )
        connection.shortcut = self.shortcut
        connection.long_answers = self.long_answers
        return connection


class Runner(web.AppRunner):
    """Serves an application by them."""

    def __init__(self, app: web.Application, config: Config) -> None:
        super().__init__(
            app,
            access_log=None,
            # git inflates bodies itself; aiohttp would do it and leave the header.
            auto_decompress=False,
            handler_cancellation=True,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            lingering_time=_LINGERING_SECONDS,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        self._config = config

    async def cleanup(self) -> None:
        """Take no new connections, let what is under way go on for a while, then end it all."""
        _log.info("stopping", drain_seconds=self._config.drain_seconds)
        for site in self.sites:
            await site.stop()
        if self.server:
            self.server.pre_shutdown()
            await self.app[GATE].drain(self._config.drain_seconds)
        await super().cleanup()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        vars(server).update(config=self._config, shortcut=self.app[SHORTCUT], long_answers=set())
        return server
