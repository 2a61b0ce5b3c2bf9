"""What a token with a limited number of uses is used for counts once, however many requests it takes.

A use is what the audit calls one: a pack that was sent, a push that git answered, an archive. Each
request that may become one takes it before git is asked, and gives it back where it was none: a step of
a negotiation, or what was refused or failed (docs/decisions/0019).
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import structlog

from gitpat_proxy.access.model import Token, lineage
from gitpat_proxy.access.refusal import Code, RefusedError, refuse
from gitpat_proxy.backends.base import Answer, Piece, bytes_of
from gitpat_proxy.exchange import Exchange
from gitpat_proxy.git.fetch import PackReader
from gitpat_proxy.git.operation import Kind, Service
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store.errors import DatabaseError

_LONGEST_HEAD = 1024 * 1024
"""What comes before a pack and is longer than that counts as one."""

_log = structlog.get_logger()


class Use:
    """A use, which is taken until it is given back; `counts`: it will not be."""

    def __init__(self, tokens: Tokens, token: Token) -> None:
        self.counts = False
        self._tokens = tokens
        self._token = token
        self._taken: Mapping[str, int] = {}

    def of(self, answer: Answer, service: Service | None) -> Answer:
        """Return the answer to be passed on; what it is decides whether the use counts."""
        if service is Service.UPLOAD_PACK:
            return replace(answer, body=self._told_apart(answer.body))
        self.counts = True
        return answer

    async def take(self) -> None:
        """Raise RefusedError if there is none left."""
        await _to_its_end(self._take())

    async def give_back(self) -> None:
        """Give the use back, once, if it was taken and does not count."""
        if self._taken and not self.counts:
            taken, self._taken = self._taken, {}
            await _to_its_end(self._give_back(taken))

    async def _take(self) -> None:
        self._taken = await self._tokens.take_use(self._token.id)

    async def _give_back(self, taken: Mapping[str, int]) -> None:
        try:
            await self._tokens.give_use_back(taken)
        except DatabaseError as error:
            _log.error("use_not_given_back", token=self._token.id, reason=str(error))

    async def _told_apart(self, body: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
        """Yield the answer's pieces, none before it is clear whether there is a pack.

        A client that has read the end of a round of negotiation may ask for the next one, which takes
        the use again.
        """
        pack = PackReader()
        held: list[bytes] = []
        async for piece in body:
            if not self.counts:
                content = bytes_of(piece)
                pack.feed(content)
                if not (pack.found or pack.unclear) and sum(map(len, held)) < _LONGEST_HEAD:
                    # A piece that lies in a file is gone when the next one is asked for.
                    held.append(content)
                    continue
                self.counts = True
                for earlier in held:
                    yield earlier
            yield piece
        if not self.counts:
            await self.give_back()
            for earlier in held:
                yield earlier


class Uses:
    """Counts uses in the database: exact also where several processes serve."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    @asynccontextmanager
    async def counted(self, exchange: Exchange) -> AsyncIterator[Use | None]:
        """Take a use for a request, if its token's are limited and it may be one.

        Raises RefusedError if there is none left.
        """
        operation, token = exchange.operation, exchange.token
        if token is None or operation is None or not _is_limited(token):
            yield None
            return
        if operation.kind is Kind.DUMB:
            # File by file: nobody can tell where a clone ends.
            raise RefusedError(refuse(Code.DUMB_PROTOCOL_OFF))
        if not exchange.may_be_use:
            yield None
            return
        use = Use(self._tokens, token)
        try:
            await use.take()
            yield use
        except RefusedError:
            use.counts = False
            raise
        finally:
            await use.give_back()


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for what is written also while the request is cancelled, and end as cancelled only then.

    What is cancelled on its way to the database may be written all the same; nobody would know.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    failed = task.exception()
    if ended := cancelled or failed:
        raise ended


def _is_limited(token: Token) -> bool:
    return any(each.uses_left is not None for each in lineage(token))
