"""An application on connections of our own, with a clean end."""

import asyncio
import gc
import math

import structlog
from aiohttp import hdrs, web

from gitpat_proxy.access.model import Clock
from gitpat_proxy.app import GATE, SHORTCUT, make_app
from gitpat_proxy.config.model import Config
from gitpat_proxy.services.access import Access
from gitpat_proxy.shared import Shared
from gitpat_proxy.shortcut import Reading, Shortcut
from gitpat_proxy.store.database import Database

_SHUTDOWN_SECONDS = 2.0
"""How long aiohttp waits at the end, twice, for what was cut off by then.

A push that has arrived takes what it needs."""
_KEEPALIVE_SECONDS = 75.0
"""How long a connection may be idle, or take to send a request's head."""
_LINGERING_SECONDS = 2.0
"""How long the rest of a refused request's body is read, so that the refusal can be."""
_NOT_HTTP = "This is no request that HTTP/1.1 allows.\n"

_log = structlog.get_logger()


def make_runner(config: Config, access: Access, shared: Shared, clock: Clock) -> "Runner":
    """Put together what one process serves."""
    return Runner(make_app(config, access, Database(config.database), shared, clock), config)


class _Connection(web.RequestHandler):
    """A connection that tells those who send no HTTP so in our own words.

    It remembers its other end, which a client that leaves at once would take away with it.
    """

    __slots__ = ("_is_between_requests", "_peer", "_peername", "_unsent", "asked", "is_tls", "turn")

    turn: "_Turn"
    is_tls: bool
    asked: tuple[Reading, bytes] | None
    """What the turn is to answer, with the bytes that it was read from."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._peername = transport.get_extra_info("peername")
        # A Unix socket has none. Where it can't be told any more, the gate answers.
        self._peer = self._peername[0] if self._peername else None
        self._is_between_requests = self._peername is not None
        self._unsent = math.inf
        self.is_tls = transport.get_extra_info("sslcontext") is not None
        self.asked = None
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Have a request that comes in one piece answered by the shortcut, if that can.

        Only between two requests: as long as every piece before was a whole one, the HTTP parser has
        nothing either that would belong to this one.
        """
        if self.asked:
            # More, before there was time to answer.
            self.turn.answer()
        if self._is_between_requests and data and (reading := self._read(data)) and self.is_idle:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
            self.asked = reading, data
            self.turn.add(self)
            return
        super().data_received(data)

    def eof_received(self) -> None:
        """Answer what came before the end: TLS tells of both at once, and sends nothing after that."""
        if self.asked:
            self.turn.answer()
        super().eof_received()

    def close(self) -> None:
        """Answer what came before a stop, too."""
        if self.asked:
            self.turn.answer()
        super().close()

    def take(self, answer: tuple[bytes, bytes] | None) -> None:
        """Send the answer to what was asked; None: have the gate answer."""
        asked, self.asked = self.asked, None
        if answer and self.transport:
            self.transport.write(b"".join(answer))
        elif asked:
            super().data_received(asked[1])

    def _process_keepalive(self) -> None:
        """End a connection on which nothing goes on, at once if it has not even taken its answer.

        As long as it takes some of it, it goes on.
        """
        transport = self.transport
        unsent = transport.get_write_buffer_size() if transport else 0
        if 0 < unsent < self._unsent:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        self._unsent = unsent or math.inf
        super()._process_keepalive()
        if unsent and transport and self._force_close:
            # An orderly end would wait for the client for ever.
            transport.abort()

    @property
    def is_idle(self) -> bool:
        """Tell whether all that came before is answered, and taken by the client."""
        if self.transport is None:
            return False
        is_waiting = self._waiter is not None and not self._waiter.done()
        return is_waiting and not (self._close or self._force_close or self.writing_paused)

    def _read(self, data: bytes) -> Reading | None:
        """Return what may have an answer at once."""
        # Unless it turns out to be one, what follows may be a part of it.
        self._is_between_requests = False
        try:
            reading = self.turn.shortcut.read(data, self._peer)
        except Exception:
            # The outermost edge: the gate meets it again, and tells the client.
            _log.exception("request_not_read")
            return None
        self._is_between_requests = reading is not None
        return reading if reading and reading.operation else None

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


class _Turn:
    """What came in one turn of the event loop, answered together when all of it has come.

    Who asks the same then shares what has to be looked at. Whoever comes alone has the answer before
    more is read; several wait for one turn more, in which those come who had theirs last.
    """

    def __init__(self, shortcut: Shortcut) -> None:
        self.shortcut = shortcut
        self._loop = asyncio.get_running_loop()
        self._connections: list[_Connection] = []

    def add(self, connection: _Connection) -> None:
        """Have it answered once all of this turn has come, if it still waits for that then."""
        if not self._connections:
            self._loop.call_soon(self._answer_soon)
        self._connections.append(connection)

    def _answer_soon(self) -> None:
        """Let the next turn's come too where there are several.

        Else clients that ask again at once go about in two halves: while one half is answered, the other
        one asks, and what is shared is looked at twice as often. Not with TLS: it sends nothing any more
        once it has read that the other end is closed.
        """
        if len(self._connections) > 1 and not any(one.is_tls for one in self._connections):
            self._loop.call_soon(self.answer)
        else:
            self.answer()

    def answer(self) -> None:
        """Answer what has come by now."""
        connections, self._connections = self._connections, []
        waiting = {one: one.asked[0] for one in connections if one.asked and one.is_idle}
        answers = dict(zip(waiting, self.shortcut.answers([*waiting.values()]), strict=True))
        for connection in connections:
            try:
                connection.take(answers.get(connection))
            except Exception:
                # As the loop does where a connection can't take what came: the others wait for theirs.
                _log.exception("connection_failed")
                if connection.transport:
                    connection.transport.abort()


class _Server(web.Server):
    """Makes such connections, with the limits of the moment."""

    config: Config
    turn: _Turn

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
        connection.turn = self.turn
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
        # What was loaded stays: to look through all of it for garbage stops everything for 50 ms.
        gc.freeze()
        server.__class__ = _Server
        vars(server).update(config=self._config, turn=_Turn(self.app[SHORTCUT]))
        return server
