"""How a person gets a session; guessing gets slow, and nobody locks anybody out."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address

import pytest

from gitpat_proxy.access.model import Author
from gitpat_proxy.access.waiting import FREE_FAILURES
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.passwords import BusyError, Passwords
from gitpat_proxy.services.sessions import Sessions
from gitpat_proxy.services.sign_in import SignedIn, SignIn, Visit, WaitError, WrongPasswordError
from gitpat_proxy.store.database import Database
from tests.services.conftest import PASSWORDS, FakeClock
from tests.services.signing_in import (
    HERE,
    HTPASSWD,
    OTHER_PASSWORD,
    PASSWORD,
    WRONG,
    add,
    elsewhere,
    everything,
    hash_of,
    opens,
    session_of,
    told,
)
from tests.services.token_life import ADA, DAY, TICK, refusal
from tests.store.databases import a_database, opened

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
NOT_RIGHT = "The name or the password is not right."
DISABLED = "This account is disabled. Ask those who run this proxy."


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Alice and bob have a password, carol none; a service; dan, who is disabled."""
    folder = tmp_path_factory.mktemp("people")

    async def make() -> None:
        async with a_database(folder) as database:
            accounts = Accounts(database, FakeClock(), PASSWORDS)
            await add(accounts)
            await add(accounts, "bob", OTHER_PASSWORD)
            await add(accounts, "carol", None)
            await accounts.add("ci", administrator=False, service=True, by=ADA)
            await add(accounts, "dan")
            await accounts.disable("dan", by=ADA)

    asyncio.run(make())
    return (folder / "gitpat.db").read_bytes()


async def fails(sign_in: SignIn, name: str = "alice", visit: Visit = HERE, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(WrongPasswordError):
            await sign_in.by_password(name, WRONG, visit)


async def seconds_to_wait(action: Awaitable[object]) -> int:
    with pytest.raises(WaitError) as caught:
        await action
    seconds = caught.value.seconds
    words = "1 second" if seconds == 1 else f"{seconds} seconds"
    assert f"Wait {words}, then try again." in str(caught.value)
    return caught.value.seconds


def known(visit: Visit, signed_in: SignedIn) -> Visit:
    assert signed_in.device_secret
    return replace(visit, device=signed_in.device_secret)


# By password


async def test_the_right_password_begins_a_session(
    sign_in: SignIn, sessions: Sessions, database: Database, clock: FakeClock
) -> None:
    signed_in = await sign_in.by_password("alice", PASSWORD, HERE)
    session = await session_of(sessions, signed_in)
    assert (session.account, session.address, session.browser) == ("alice", "192.0.2.1", "Firefox")
    assert session.created_at == session.last_seen_at == session.authenticated_at == clock.now
    assert not session.by_header
    assert (await told(database))[-1] == Author("alice", "192.0.2.1", "r-1").did(
        "signed_in", clock.now, "alice"
    )


@pytest.mark.parametrize(
    ("name", "password", "sentence"),
    [
        ("alice", WRONG, NOT_RIGHT),
        ("alice", "", NOT_RIGHT),
        ("alice", OTHER_PASSWORD, NOT_RIGHT),
        ("alice", PASSWORD + " ", NOT_RIGHT),
        ("alice", PASSWORD.upper(), NOT_RIGHT),
        ("alice", PASSWORD + "\0", NOT_RIGHT),
        ("alice", "x" * 1_000_000, NOT_RIGHT),
        ("alice", "\udcff", NOT_RIGHT),
        ("Alice", PASSWORD, NOT_RIGHT),
        ("alice ", PASSWORD, NOT_RIGHT),
        ("", PASSWORD, NOT_RIGHT),
        ("nobody", PASSWORD, NOT_RIGHT),
        ("nobody", "", NOT_RIGHT),
        ("' OR 1=1 --", PASSWORD, NOT_RIGHT),
        ("\udcff", PASSWORD, NOT_RIGHT),
        ("alice\0", PASSWORD, NOT_RIGHT),
        ("x" * 100_000, PASSWORD, NOT_RIGHT),
        ("carol", "", NOT_RIGHT),
        ("carol", PASSWORD, NOT_RIGHT),
        ("ci", "", NOT_RIGHT),
        ("ci", PASSWORD, NOT_RIGHT),
        # Only who knows the password learns that the account is disabled.
        ("dan", WRONG, NOT_RIGHT),
        ("dan", PASSWORD, DISABLED),
    ],
)
async def test_anything_else_does_not(
    sign_in: SignIn, database: Database, name: str, password: str, sentence: str
) -> None:
    with pytest.raises(WrongPasswordError) as caught:
        await sign_in.by_password(name, password, HERE)
    assert str(caught.value) == sentence
    failed = [event for event in await told(database) if event.event == "sign_in_failed"]
    there = name in {"alice", "carol", "ci", "dan"} and sentence == NOT_RIGHT
    assert [(event.account, event.address) for event in failed] == [(name, "192.0.2.1")] * there
    assert 'INSERT INTO "sessions"' not in everything(database)


async def test_an_accent_may_be_typed_apart_from_its_letter(sign_in: SignIn, accounts: Accounts) -> None:
    composed, decomposed = "é" * 256, "e\u0301" * 256
    await add(accounts, "eve", composed[:-1] + "x")
    await opens(sign_in, "eve", composed[:-1] + "x")
    await opens(sign_in, "eve", decomposed[:-2] + "x")
    await fails(sign_in, "eve")
    await accounts.set_password("eve", decomposed[:-2] + "y", by=ADA)
    await opens(sign_in, "eve", composed[:-1] + "y")


async def test_every_sign_in_has_secrets_of_its_own_and_none_is_kept(
    sign_in: SignIn, sessions: Sessions, database: Database
) -> None:
    first = await sign_in.by_password("alice", PASSWORD, HERE)
    second = await sign_in.by_password("alice", PASSWORD, known(HERE, first))
    third = await sign_in.by_header("alice", HERE, create_account=False)
    made = [first, second, third]
    secrets = [s for one in made for s in (one.session_secret, one.device_secret) if s]
    assert len(set(secrets)) == len(secrets) == 5
    assert all(len(secret) >= 43 for secret in secrets)
    assert len({(await session_of(sessions, one)).id for one in made}) == 3
    kept = everything(database)
    for secret in (*secrets, PASSWORD, OTHER_PASSWORD):
        assert secret not in kept
        assert secret.encode().hex().upper() not in kept


async def test_what_a_browser_sends_may_be_anything(sign_in: SignIn, sessions: Sessions) -> None:
    for browser, kept in [("", ""), ("x" * 10_000, "x" * 300), ("a\udcff\0", "a?\0")]:
        visit = replace(HERE, browser=browser, device="\udcff")
        signed_in = await sign_in.by_password("alice", PASSWORD, visit)
        assert (await session_of(sessions, signed_in)).browser == kept
    signed_in = await sign_in.by_password("alice", PASSWORD, replace(HERE, address=None))
    assert {s.address for s in await sessions.listed("alice")} == {"192.0.2.1", "local socket"}


# Waiting


async def test_after_five_failures_each_doubles_the_wait_for_the_account_up_to_half_a_minute(
    sign_in: SignIn, clock: FakeClock
) -> None:
    """From however many addresses; and neither is a try during the wait looked at, nor counted."""
    for number in range(5):
        await fails(sign_in, visit=elsewhere(number))
    for number, wait in enumerate([2, 4, 8, 16, 30, 30], 10):
        for password in (WRONG, PASSWORD, WRONG):
            late = sign_in.by_password("alice", password, elsewhere(number))
            assert await seconds_to_wait(late) == wait
        clock.now += wait * SECOND - TICK
        assert await seconds_to_wait(sign_in.by_password("alice", WRONG, elsewhere(99))) == 1
        clock.now += TICK
        await fails(sign_in, visit=elsewhere(number))
    # Nobody else waits, and no other account does.
    await opens(sign_in, "bob", OTHER_PASSWORD)
    clock.now += 30 * SECOND
    await opens(sign_in, "alice", PASSWORD)
    # Who is in begins anew.
    await fails(sign_in, visit=elsewhere(30), times=FREE_FAILURES)


async def test_after_five_failures_an_address_waits_up_to_a_quarter_of_an_hour(
    sign_in: SignIn, clock: FakeClock
) -> None:
    """Whatever the names, those that there are and those that there are not."""
    for number in range(5):
        await fails(sign_in, f"nobody-{number}")
    for number, wait in enumerate([2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900], 5):
        assert await seconds_to_wait(sign_in.by_password("alice", PASSWORD, HERE)) == wait
        clock.now += wait * SECOND
        await fails(sign_in, f"nobody-{number}")
    await opens(sign_in, "alice", PASSWORD)


async def test_an_unknown_name_waits_as_any_other(sign_in: SignIn) -> None:
    for name in ("nobody", "\udcff"):
        for number in range(5):
            await fails(sign_in, name, elsewhere(number + 10 * len(name)))
        late = sign_in.by_password(name, PASSWORD, elsewhere(100))
        assert await seconds_to_wait(late) == 2


async def test_an_ipv6_network_of_64_bits_is_one_sender(sign_in: SignIn) -> None:
    def at(end: str) -> Visit:
        return replace(HERE, address=ip_address(f"2001:db8:0:{end}"))

    for number in range(5):
        await fails(sign_in, f"nobody-{number}", at(f"1:{number}::"))
    assert await seconds_to_wait(sign_in.by_password("alice", PASSWORD, at("1:ffff::9"))) == 2
    await sign_in.by_password("alice", PASSWORD, at("2::9"))


async def test_a_local_socket_is_no_address_that_waits(sign_in: SignIn) -> None:
    local = replace(HERE, address=None)
    for number in range(10):
        await fails(sign_in, f"nobody-{number}", local)
    await sign_in.by_password("alice", PASSWORD, local)


async def test_other_processes_know_of_the_failures(
    sign_in: SignIn, database: Database, clock: FakeClock
) -> None:
    async with opened(database.path) as same:
        other = SignIn(same, clock, Passwords(), answer_seconds=0)
        for one, times in [(sign_in, 3), (other, 2)]:
            await fails(one, times=times)
        for one in (sign_in, other):
            assert await seconds_to_wait(one.by_password("alice", PASSWORD, elsewhere())) == 2
            assert await seconds_to_wait(one.by_password("bob", PASSWORD, HERE)) == 2


class Counting(Passwords):
    """Counts the passwords that are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at = 0

    async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        self.looked_at += 1
        return await super().verify(password, hashed)


@pytest.mark.parametrize("visit", [HERE, None])
async def test_of_fifty_tries_at_once_no_more_are_looked_at_than_one_by_one(
    database: Database, clock: FakeClock, visit: Visit | None
) -> None:
    passwords = Counting()
    sign_in = SignIn(database, clock, passwords, answer_seconds=0)
    tries = [
        sign_in.by_password("alice", f"guess number {number}", visit or elsewhere(number))
        for number in range(50)
    ]
    results = Counter(map(type, await asyncio.gather(*tries, return_exceptions=True)))
    assert results == {WrongPasswordError: FREE_FAILURES, WaitError: 50 - FREE_FAILURES}
    assert passwords.looked_at == FREE_FAILURES
    await seconds_to_wait(sign_in.by_password("alice", PASSWORD, elsewhere(99)))
    assert passwords.looked_at == FREE_FAILURES


async def test_strangers_do_not_hold_up_a_device_that_is_known(
    sign_in: SignIn, clock: FakeClock
) -> None:
    device = known(HERE, await sign_in.by_password("alice", PASSWORD, HERE))
    for _ in range(12):
        for number in (1, 2, 3):
            try:
                await sign_in.by_password("alice", WRONG, elsewhere(number))
            except (WaitError, WrongPasswordError):
                clock.now += SECOND
    await seconds_to_wait(sign_in.by_password("alice", PASSWORD, replace(device, device=None)))
    # Not even from the stranger's own address.
    for address in (HERE.address, elsewhere(1).address):
        device = replace(device, address=address)
        device = known(device, await sign_in.by_password("alice", PASSWORD, device))
    # It is counted by itself, up to a quarter of an hour, ...
    await fails(sign_in, visit=device, times=5)
    for wait in (2, 4, 8, 16, 32, 64):
        assert await seconds_to_wait(sign_in.by_password("alice", PASSWORD, device)) == wait
        clock.now += wait * SECOND
        await fails(sign_in, visit=device)
    # ... is a stranger's to other accounts, and what it did is not counted against the account.
    bobs = replace(device, address=ip_address("198.51.100.1"))
    await sign_in.by_password("bob", OTHER_PASSWORD, bobs)
    clock.now += 30 * SECOND
    await opens(sign_in, "alice", PASSWORD)


async def test_a_device_cookie_is_replaced_at_each_sign_in_and_forgotten_after_90_days(
    sign_in: SignIn, clock: FakeClock
) -> None:
    first = known(HERE, await sign_in.by_password("alice", PASSWORD, HERE))
    second = known(HERE, await sign_in.by_password("alice", PASSWORD, first))
    third = known(HERE, await sign_in.by_password("alice", PASSWORD, second))
    clock.now += 90 * DAY
    await opens(sign_in, "bob", OTHER_PASSWORD)
    for number in range(5):
        await fails(sign_in, visit=elsewhere(number))
    for old in (first, second, replace(HERE, device="x"), replace(HERE, device="")):
        assert await seconds_to_wait(sign_in.by_password("alice", PASSWORD, old)) == 2
    await fails(sign_in, visit=third)
    clock.now += TICK
    await opens(sign_in, "bob", OTHER_PASSWORD)
    assert await seconds_to_wait(sign_in.by_password("alice", PASSWORD, third)) == 2


async def test_signing_in_to_ones_own_account_does_not_forgive_an_address(sign_in: SignIn) -> None:
    """Or a guesser would sign in to an account of theirs between any two guesses."""
    for number in range(4):
        await fails(sign_in, f"nobody-{number}")
        await sign_in.by_password("bob", OTHER_PASSWORD, HERE)
        await sign_in.by_password("bob", OTHER_PASSWORD, HERE)
    await fails(sign_in, "nobody-4")
    assert await seconds_to_wait(sign_in.by_password("alice", PASSWORD, HERE)) == 2


async def test_failures_are_forgotten_after_a_day(sign_in: SignIn, clock: FakeClock) -> None:
    await fails(sign_in, times=4)
    clock.now += DAY
    await fails(sign_in)
    assert await seconds_to_wait(sign_in.by_password("alice", PASSWORD, HERE)) == 2
    clock.now += DAY + TICK
    await fails(sign_in, times=5)
    assert await seconds_to_wait(sign_in.by_password("alice", PASSWORD, HERE)) == 2


async def test_a_clock_that_is_put_back_makes_nobody_wait_for_long(
    sign_in: SignIn, clock: FakeClock
) -> None:
    await fails(sign_in, times=5)
    clock.now -= 10 * SECOND
    assert await seconds_to_wait(sign_in.by_password("alice", PASSWORD, HERE)) == 12
    clock.now -= DAY
    await sign_in.by_password("alice", PASSWORD, HERE)


async def test_what_nobody_had_the_time_to_look_at_is_no_failure(
    database: Database, clock: FakeClock
) -> None:
    class Busy(Passwords):
        async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
            raise BusyError("busy")

    busy = SignIn(database, clock, Busy(), answer_seconds=0)
    for _ in range(2 * FREE_FAILURES):
        with pytest.raises(BusyError):
            await busy.by_password("alice", PASSWORD, HERE)
    await fails(SignIn(database, clock, PASSWORDS, answer_seconds=0), times=FREE_FAILURES)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        *[("alice", WRONG), ("alice", "x" * 1000), ("nobody", PASSWORD), ("carol", PASSWORD)],
        *[("ci", PASSWORD), ("dan", WRONG), ("legacy", WRONG)],
    ],
)
async def test_a_failure_takes_the_same_time_whatever_it_is(
    database: Database, accounts: Accounts, clock: FakeClock, name: str, password: str
) -> None:
    await accounts.import_htpasswd([f"legacy:{HTPASSWD['sha1']}"], by=ADA)
    sign_in = SignIn(database, clock, PASSWORDS, answer_seconds=0.3)
    began = time.monotonic()
    with pytest.raises(WrongPasswordError):
        await sign_in.by_password(name, password, HERE)
    assert time.monotonic() - began >= 0.299


async def test_by_itself_a_failure_takes_half_a_second(database: Database, clock: FakeClock) -> None:
    began = time.monotonic()
    await fails(SignIn(database, clock, PASSWORDS))
    assert time.monotonic() - began >= 0.499


# What changes meanwhile


class Interrupted(Passwords):
    """Something else happens once, when a password has been looked at and nothing is written yet."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__()
        self._meanwhile: Callable[[], Awaitable[object]] | None = meanwhile

    async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        result = await super().verify(password, hashed)
        if self._meanwhile:
            meanwhile, self._meanwhile = self._meanwhile, None
            await meanwhile()
        return result


@pytest.mark.parametrize("legacy", [False, True])
async def test_the_old_password_opens_nothing_once_there_is_a_new_one(
    database: Database, accounts: Accounts, sessions: Sessions, clock: FakeClock, legacy: bool
) -> None:
    name = "eve" if legacy else "alice"
    await accounts.import_htpasswd([f"eve:{HTPASSWD['apr1']}"], by=ADA)

    async def set_password() -> None:
        await accounts.set_password(name, OTHER_PASSWORD, by=ADA)

    late = SignIn(database, clock, Interrupted(set_password), answer_seconds=0)
    with pytest.raises(WrongPasswordError):
        await late.by_password(name, PASSWORD, HERE)
    assert await sessions.listed(name) == []
    await opens(late, name, OTHER_PASSWORD)
    with pytest.raises(WrongPasswordError):
        await opens(late, name, PASSWORD)


async def test_two_sign_ins_at_once_with_a_hash_to_be_replaced_both_succeed(
    database: Database, accounts: Accounts, sign_in: SignIn, sessions: Sessions, clock: FakeClock
) -> None:
    await accounts.import_htpasswd([f"eve:{HTPASSWD['apr1']}"], by=ADA)

    async def same() -> None:
        await opens(sign_in, "eve", PASSWORD)

    await opens(SignIn(database, clock, Interrupted(same), answer_seconds=0), "eve", PASSWORD)
    assert len(await sessions.listed("eve")) == 2


async def test_an_account_that_is_disabled_meanwhile_has_no_session(
    database: Database, accounts: Accounts, sessions: Sessions, clock: FakeClock
) -> None:
    async def disable() -> None:
        await accounts.disable("alice", by=ADA)

    late = SignIn(database, clock, Interrupted(disable), answer_seconds=0)
    with pytest.raises(WrongPasswordError, match="disabled"):
        await late.by_password("alice", PASSWORD, HERE)
    assert await sessions.listed("alice") == []


@pytest.mark.parametrize("kind", HTPASSWD)
async def test_a_hash_of_another_program_is_replaced_by_our_own(
    sign_in: SignIn, accounts: Accounts, database: Database, kind: str
) -> None:
    await accounts.import_htpasswd([f"eve:{HTPASSWD[kind]}"], by=ADA)
    await fails(sign_in, "eve")
    assert hash_of(database, "eve") == HTPASSWD[kind]
    await opens(sign_in, "eve", PASSWORD)
    replaced = hash_of(database, "eve")
    assert replaced
    assert replaced.startswith("$argon2id$")
    await opens(sign_in, "eve", PASSWORD)
    assert hash_of(database, "eve") == replaced
    await fails(sign_in, "eve")


# By the word of the proxy in front


async def test_whom_the_proxy_in_front_names_has_a_session(
    sign_in: SignIn, sessions: Sessions, database: Database, clock: FakeClock
) -> None:
    signed_in = await sign_in.by_header("alice", HERE, create_account=False)
    assert signed_in.device_secret is None
    session = await session_of(sessions, signed_in)
    assert (session.account, session.by_header) == ("alice", True)
    assert session.is_fresh(clock.now)
    assert [e.event for e in (await told(database))[-1:]] == ["signed_in"]


async def test_whom_nobody_knows_is_added_only_where_that_is_wanted(
    sign_in: SignIn, accounts: Accounts, database: Database, clock: FakeClock
) -> None:
    before = await told(database)
    sentence = await refusal(sign_in.by_header("eve@example.org", HERE, create_account=False))
    assert sentence == "There is no account eve@example.org. Ask those who run this proxy for one."
    assert await told(database) == before
    await sign_in.by_header("eve@example.org", HERE, create_account=True)
    account = await accounts.get("eve@example.org")
    assert (account.administrator, account.service, account.has_password) == (False, False, False)
    author = Author("eve@example.org", "192.0.2.1", "r-1")
    assert (await told(database))[len(before) :] == [
        author.did("account_added", clock.now, "eve@example.org", details={"by_header": True}),
        author.did("signed_in", clock.now, "eve@example.org"),
    ]
    await sign_in.by_header("eve@example.org", HERE, create_account=True)
    assert len(await accounts.listed()) == 6


@pytest.mark.parametrize("create_account", [False, True])
async def test_who_can_not_sign_in_is_told_whoever_names_them(
    sign_in: SignIn, sessions: Sessions, accounts: Accounts, database: Database, create_account: bool
) -> None:
    before = await told(database)
    for name, sentence in [
        ("ci", "The account ci can't sign in. Ask those who run this proxy."),
        ("dan", "The account dan can't sign in. Ask those who run this proxy."),
        *[
            (name, f"{name!r} can't be an account's name; accepted: ")
            for name in ("", "a b", "x" * 65, "\udcff", "eve\n", "../eve", "<eve>", "-eve", "éve")
        ],
    ]:
        found = await refusal(sign_in.by_header(name, HERE, create_account=create_account))
        assert found.startswith(sentence)
        assert found.endswith(".")
    assert await told(database) == before
    assert len(await accounts.listed()) == 5
    for name in ("ci", "dan"):
        assert await sessions.listed(name) == []


# Once more


async def test_the_password_once_more_makes_a_session_fresh(
    sign_in: SignIn, sessions: Sessions, database: Database, clock: FakeClock
) -> None:
    signed_in = await sign_in.by_password("alice", PASSWORD, HERE)
    other = await session_of(sessions, await sign_in.by_password("alice", PASSWORD, HERE))
    clock.now += HOUR
    session = await session_of(sessions, signed_in)
    assert not session.is_fresh(clock.now)
    with pytest.raises(WrongPasswordError, match=NOT_RIGHT):
        await sign_in.confirm(session, WRONG, HERE)
    assert (await session_of(sessions, signed_in)).authenticated_at == session.authenticated_at
    await sign_in.confirm(session, PASSWORD, HERE)
    again = await session_of(sessions, signed_in)
    assert again == replace(session, authenticated_at=clock.now)
    assert [e.event for e in (await told(database))[-2:]] == ["sign_in_failed", "password_confirmed"]
    assert [s.authenticated_at for s in await sessions.listed("alice") if s.id == other.id] == [
        other.authenticated_at
    ]


async def test_wrong_ones_count_for_the_session_alone(
    sign_in: SignIn, sessions: Sessions, clock: FakeClock
) -> None:
    first, second = [
        await session_of(sessions, await sign_in.by_password("alice", PASSWORD, HERE)) for _ in range(2)
    ]
    for _ in range(5):
        with pytest.raises(WrongPasswordError):
            await sign_in.confirm(first, WRONG, HERE)
    for wait in (2, 4, 8, 16, 32, 64):
        assert await seconds_to_wait(sign_in.confirm(first, PASSWORD, elsewhere())) == wait
        await sign_in.confirm(second, PASSWORD, HERE)
        await sign_in.by_password("alice", PASSWORD, HERE)
        clock.now += wait * SECOND
        with pytest.raises(WrongPasswordError):
            await sign_in.confirm(first, WRONG, HERE)
    clock.now += 128 * SECOND
    await sign_in.confirm(first, PASSWORD, HERE)
    for _ in range(5):
        with pytest.raises(WrongPasswordError):
            await sign_in.confirm(first, WRONG, HERE)


async def test_strangers_do_not_hold_up_who_is_signed_in(sign_in: SignIn, sessions: Sessions) -> None:
    session = await session_of(sessions, await sign_in.by_password("alice", PASSWORD, HERE))
    for number in range(5):
        await fails(sign_in, visit=elsewhere(number))
    await sign_in.confirm(session, PASSWORD, HERE)


async def test_who_has_no_password_confirms_nothing(sign_in: SignIn, sessions: Sessions) -> None:
    session = await session_of(sessions, await sign_in.by_header("carol", HERE, create_account=False))
    for password in ("", PASSWORD):
        with pytest.raises(WrongPasswordError):
            await sign_in.confirm(session, password, HERE)
