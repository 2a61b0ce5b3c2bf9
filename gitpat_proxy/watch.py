"""What is under way ends when its token does."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from gitpat_proxy.access.model import Clock
from gitpat_proxy.access.policy import decide_going_on
from gitpat_proxy.access.refusal import Code, refuse
from gitpat_proxy.exchange import Exchange
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store.errors import DatabaseError

_LOOK_SECONDS = 0.5

_log = structlog.get_logger()


class Watch:
    """Looks twice a second whether the tokens of the operations under way are still alive.

    In the database, so that it does not matter which process revoked them. A clone or push of a token
    that was revoked, has expired, got a new secret, or whose owner was disabled is cut off; a push that
    has wholly arrived is left to git.
    """

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._exchanges: set[Exchange] = set()

    @contextmanager
    def over(self, exchange: Exchange) -> Iterator[None]:
        """Watch an operation as long as the block runs."""
        self._exchanges.add(exchange)
        try:
            yield
        finally:
            self._exchanges.discard(exchange)

    async def run(self) -> None:
        """Look until it is cancelled; what can't be looked up goes on, and is tried again."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self._look()
            except DatabaseError as error:
                _log.error("watch_failed", operations=len(self._exchanges), reason=str(error))
            except Exception:
                # The outermost edge of a task that nobody waits for.
                _log.exception("watch_failed", operations=len(self._exchanges))

    async def _look(self) -> None:
        watched = {exchange: exchange.token.id for exchange in self._exchanges if exchange.token}
        if not watched:
            return
        found = await self._tokens.with_ids(set(watched.values()))
        now = self._clock()
        for exchange, token_id in watched.items():
            pair = found.get(token_id)
            if pair is None or exchange.token is None or pair[0].hint != exchange.token.hint:
                exchange.cut_off(refuse(Code.TOKEN_UNKNOWN))
            elif refusal := decide_going_on(*pair, now):
                exchange.cut_off(refusal)
