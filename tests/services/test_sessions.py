"""Signed-in browsers: found, listed, ended."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from gitpat_proxy.access.model import Author, Session
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.errors import NotFoundError
from gitpat_proxy.services.sessions import Sessions
from gitpat_proxy.services.sign_in import SignIn
from gitpat_proxy.store.database import Database
from tests.services.conftest import FakeClock
from tests.services.signing_in import HERE, add, session_of, told
from tests.services.token_life import ADA, DAY, TICK

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
ADDRESS = HERE.address_text
NO_SESSION = "there is no such session; it may have ended already"


async def begin(sign_in: SignIn, name: str = "alice") -> str:
    """Begin a session without looking at a password."""
    return (await sign_in.by_header(name, HERE, create_account=True)).session_secret


async def test_a_session_is_found_by_its_secret_with_its_account(
    sign_in: SignIn, sessions: Sessions, clock: FakeClock
) -> None:
    secret = await begin(sign_in)
    found = await sessions.find(secret, ADDRESS)
    assert found
    session, account = found
    now = clock.now
    assert session == Session(session.id, "alice", now, now, now, ADDRESS, "Firefox", by_header=True)
    assert (account.name, account.has_password) == ("alice", False)
    for other in ("", "x", secret[:-1], secret + "x", secret.swapcase(), "\udcff", "\0", "x" * 10_000):
        assert await sessions.find(other, ADDRESS) is None


async def test_a_session_that_is_not_looked_at_ends_after_12_hours(
    sign_in: SignIn, sessions: Sessions, clock: FakeClock
) -> None:
    secret = await begin(sign_in)
    clock.now += 12 * HOUR - TICK
    assert await sessions.find(secret, ADDRESS)
    # Which was a look at it.
    clock.now += 12 * HOUR - TICK
    assert await sessions.find(secret, ADDRESS)
    clock.now += 12 * HOUR
    assert await sessions.find(secret, ADDRESS) is None
    assert await sessions.listed("alice") == []
    # Nor does a look at what has ended begin it anew.
    clock.now -= TICK
    assert await sessions.find(secret, ADDRESS)


async def test_a_session_that_is_looked_at_ends_after_7_days(
    sign_in: SignIn, sessions: Sessions, clock: FakeClock
) -> None:
    secret = await begin(sign_in)
    end = clock.now + 7 * DAY
    while clock.now + 11 * HOUR < end:
        clock.now += 11 * HOUR
        assert await sessions.find(secret, ADDRESS)
    clock.now = end - TICK
    assert await sessions.find(secret, ADDRESS)
    assert len(await sessions.listed("alice")) == 1
    clock.now = end
    assert await sessions.find(secret, ADDRESS) is None
    assert await sessions.listed("alice") == []


async def test_when_it_was_seen_is_written_once_a_minute_or_from_another_address(
    sign_in: SignIn, sessions: Sessions, database: Database, clock: FakeClock
) -> None:
    secret = await begin(sign_in)
    written: list[str] = []

    def remember(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("SELECT", "BEGIN")):
            written.append(statement.split(maxsplit=1)[0])

    sa.event.listen(database.engine, "before_cursor_execute", remember)
    began = clock.now
    for moment, address, writes in [
        (MINUTE - TICK, ADDRESS, False),
        (MINUTE, ADDRESS, True),
        (2 * MINUTE - TICK, ADDRESS, False),
        (2 * MINUTE, ADDRESS, True),
        (2 * MINUTE + TICK, "192.0.2.9", True),
        (2 * MINUTE + 2 * TICK, "192.0.2.9", False),
    ]:
        clock.now = began + moment
        written.clear()
        found = await sessions.find(secret, address)
        assert found
        assert written == (["UPDATE"] if writes else []), moment
        if writes:
            assert (found[0].last_seen_at, found[0].address) == (clock.now, address)
        assert await sessions.listed("alice") == [found[0]]


async def test_disabling_an_account_ends_its_sessions_for_good(
    sign_in: SignIn, sessions: Sessions, accounts: Accounts
) -> None:
    """Those of a thief must not come back with the account."""
    secret, bobs = await begin(sign_in), await begin(sign_in, "bob")
    await accounts.disable("alice", by=ADA)
    assert await sessions.find(secret, ADDRESS) is None
    assert await sessions.listed("alice") == []
    await accounts.enable("alice", by=ADA)
    assert await sessions.find(secret, ADDRESS) is None
    assert await sessions.find(bobs, ADDRESS)


async def test_a_session_of_a_disabled_account_is_not_found(
    sign_in: SignIn, sessions: Sessions, database: Database
) -> None:
    """However the account came to be so."""
    secret = await begin(sign_in)
    async with database.writing() as connection:
        await connection.exec_driver_sql("UPDATE accounts SET disabled_at = 1")
    assert await sessions.find(secret, ADDRESS) is None


async def test_sessions_are_listed_newest_first_and_ended_one_by_one(
    sign_in: SignIn, sessions: Sessions, database: Database, clock: FakeClock
) -> None:
    secrets = []
    for _ in range(3):
        secrets.append(await begin(sign_in))
        clock.now += MINUTE
    await begin(sign_in, "bob")
    listed = await sessions.listed("alice")
    assert [session.created_at for session in listed] == [clock.now - n * MINUTE for n in (1, 2, 3)]
    assert len({session.id for session in listed}) == 3
    author = Author("alice", ADDRESS, "r-2", confined_to="alice")
    await sessions.end(listed[1].id, "alice", by=author)
    assert await sessions.listed("alice") == [listed[0], listed[2]]
    assert [await sessions.find(secret, ADDRESS) is not None for secret in secrets] == [
        True,
        False,
        True,
    ]
    ended = (await told(database))[-1]
    assert ended == author.did("session_ended", clock.now, "alice")
    await sessions.end(listed[0].id, "alice", by=author, event="signed_out")
    assert (await told(database))[-1].event == "signed_out"
    assert await sessions.find(secrets[2], ADDRESS) is None


async def test_what_is_none_of_theirs_is_not_ended(
    sign_in: SignIn, sessions: Sessions, database: Database
) -> None:
    secret = await begin(sign_in)
    await begin(sign_in, "bob")
    [session] = await sessions.listed("alice")
    before = await told(database)
    for session_id, account in [(session.id, "bob"), (session.id, "carol"), ("x", "alice"), ("", "bob")]:
        with pytest.raises(NotFoundError, match=NO_SESSION):
            await sessions.end(session_id, account, by=ADA)
    assert await sessions.find(secret, ADDRESS)
    assert await told(database) == before
    await sessions.end(session.id, "alice", by=ADA)
    with pytest.raises(NotFoundError, match=NO_SESSION):
        await sessions.end(session.id, "alice", by=ADA)


async def test_what_can_not_be_alive_is_removed_by_the_next_sign_in(
    sign_in: SignIn, sessions: Sessions, accounts: Accounts, database: Database, clock: FakeClock
) -> None:
    await add(accounts, "bob", None)
    old = await begin(sign_in)
    session = await session_of(sessions, await sign_in.by_header("bob", HERE, create_account=False))

    async def rows() -> set[str]:
        async with database.reading() as connection:
            return set((await connection.exec_driver_sql("SELECT id FROM sessions")).scalars())

    assert session.id in await rows()
    clock.now += 7 * DAY
    await begin(sign_in)
    assert len(await rows()) == 3
    clock.now += TICK
    await begin(sign_in)
    assert len(await rows()) == 2
    assert session.id not in await rows()
    assert await sessions.find(old, ADDRESS) is None
