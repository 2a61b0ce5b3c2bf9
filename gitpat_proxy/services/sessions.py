"""Signed-in browsers: found by the secret in their cookie, listed, ended."""

from dataclasses import replace
from datetime import timedelta

from gitpat_proxy.access.model import Account, Author, Clock, Session
from gitpat_proxy.access.secret import digest_of
from gitpat_proxy.services.errors import NotFoundError
from gitpat_proxy.store import audit
from gitpat_proxy.store import sessions as store
from gitpat_proxy.store.database import Database

_SEEN_EVERY = timedelta(minutes=1)
"""A page that is looked at seldom has to write."""


class Sessions:
    """Each method is one transaction; nothing is remembered from one call to the next."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, secret: str, address: str) -> tuple[Session, Account] | None:
        """Return the session with this secret and its account, None if it opens nothing now."""
        now = self._clock()
        async with self._database.reading() as connection:
            found = await store.by_digest(connection, digest_of(secret))
        if found is None:
            return None
        session, account = found
        if not session.is_alive(now) or account.disabled_at is not None:
            return None
        if now >= session.last_seen_at + _SEEN_EVERY or address != session.address:
            async with self._database.writing() as connection:
                await store.set_last_seen(connection, session.id, now, address)
            session = replace(session, last_seen_at=now, address=address)
        return session, account

    async def listed(self, account: str) -> list[Session]:
        """Return the account's sessions that are alive, newest first."""
        now = self._clock()
        async with self._database.reading() as connection:
            return [s for s in await store.of_account(connection, account) if s.is_alive(now)]

    async def end(
        self, session_id: str, account: str, *, by: Author, event: str = "session_ended"
    ) -> None:
        """End one of the account's sessions; raises NotFoundError."""
        async with self._database.writing() as connection:
            if not await store.delete(connection, session_id, account):
                raise NotFoundError("there is no such session; it may have ended already")
            await connection.run_sync(audit.insert, [by.did(event, self._clock(), account)])
