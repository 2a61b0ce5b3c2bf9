"""How a person gets a session: by a password, or by the word of the proxy in front."""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import timedelta

from gitpat_proxy.access.address import Address, address_text, network_of
from gitpat_proxy.access.identifier import make_id
from gitpat_proxy.access.model import SESSION_LONGEST, Account, Author, Clock, Session
from gitpat_proxy.access.names import checked_account_name
from gitpat_proxy.access.password import LONGEST, normalized_password
from gitpat_proxy.access.secret import digest_of
from gitpat_proxy.access.waiting import (
    FORGOTTEN_AFTER,
    LONGEST_WAIT,
    LONGEST_WAIT_OF_ACCOUNT,
    waits_until,
)
from gitpat_proxy.services.errors import ServiceError
from gitpat_proxy.services.passwords import BusyError, Passwords
from gitpat_proxy.store import accounts, audit, sessions
from gitpat_proxy.store import sign_ins as store
from gitpat_proxy.store.connection import Connection
from gitpat_proxy.store.database import Database

DEVICE_KNOWN = timedelta(days=90)

_ANSWER_SECONDS = 0.5
"""What a failure takes at least: no kind of hash, and no missing account, is told by the time."""
_LONGEST_BROWSER = 300
_MOST_SESSIONS = 100
"""An account has no more than these, the newest: a program may sign in again and again."""


@dataclass(frozen=True)
class Visit:
    """What a request tells of its sender. `device` is the secret of a cookie of ours, if it came."""

    address: Address | None
    browser: str
    device: str | None
    request: str

    @property
    def address_text(self) -> str:
        return address_text(self.address)

    def author(self, account: str) -> Author:
        return Author(account, self.address_text, self.request)


@dataclass(frozen=True)
class SignedIn:
    """The secrets of the two new cookies, which exist only now."""

    session_secret: str
    device_secret: str | None


@dataclass(frozen=True)
class _Checked:
    """An account, the hash that its password fits, and the one to put in that one's place, if any."""

    account: Account
    hashed: str | None
    replacement: str | None


class WrongPasswordError(ServiceError):
    """The name, the password, or both are not right."""


class WaitError(ServiceError):
    """Too many failures; `seconds` from now on one more try is looked at."""

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"Too many tries have failed. Wait {seconds} second{'s' * (seconds > 1)}, then try again."
        )
        self.seconds = seconds


class SignIn:
    """Signs people in.

    A failure counts against the name and against the address: each doubles its wait, so that guessing
    gets slow. Who comes from a browser that has signed in to the account before is counted apart from
    strangers, who thus lock nobody out (OWASP, "Slow Down Online Guessing Attacks with Device
    Cookies").
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        passwords: Passwords,
        answer_seconds: float = _ANSWER_SECONDS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._answer_seconds = answer_seconds

    async def by_password(self, name: str, password: str, visit: Visit) -> SignedIn:
        """Start a session; raises WrongPasswordError, WaitError or BusyError."""
        name = _writable(name)
        async with self._database.reading() as connection:
            keys = await self._keys(connection, name, visit)
        checked = await self._check(name, password, keys, visit)
        device = secrets.token_urlsafe(32)
        async with self._database.writing() as connection:
            if await accounts.password_hash(connection, name) == checked.hashed:
                now = self._clock()
                if checked.replacement:
                    await accounts.set_password_hash(connection, name, checked.replacement)
                if visit.device:
                    await store.forget_device(connection, digest_of(visit.device))
                await store.add_device(connection, digest_of(device), name, now)
                await store.forget_devices_before(connection, now - DEVICE_KNOWN)
                secret = await self._start(connection, checked.account, visit, by_header=False)
                return SignedIn(secret, device)
        # The password was set or its hash replaced meanwhile: the one that is there now decides.
        return await self.by_password(name, password, visit)

    async def by_header(self, name: str, visit: Visit, *, create_account: bool) -> SignedIn:
        """Start a session for whom the proxy in front vouches; raises ServiceError."""
        try:
            checked_account_name(name)
        except ValueError as error:
            raise ServiceError(f"{error}.") from None
        async with self._database.writing() as connection:
            account = await accounts.named(connection, name)
            if account is None:
                account = await self._create(connection, name, visit, allowed=create_account)
            if account.service or account.disabled_at is not None:
                raise ServiceError(f"The account {name} can't sign in. Ask those who run this proxy.")
            return SignedIn(await self._start(connection, account, visit, by_header=True), None)

    async def confirm(self, session: Session, password: str, visit: Visit) -> None:
        """Take the password of a signed-in person once more; raises as `by_password` does."""
        keys = {f"session:{session.id}": LONGEST_WAIT}
        await self._check(session.account, password, keys, visit)
        async with self._database.writing() as connection:
            await sessions.set_authenticated(connection, session.id, self._clock())
            await self._audit(connection, "password_confirmed", session.account, visit)

    async def _keys(self, connection: Connection, name: str, visit: Visit) -> dict[str, timedelta]:
        """Return under which keys a failure counts, each with the longest wait that it may bring."""
        if visit.device:
            digest = digest_of(visit.device)
            if await store.knows_device(connection, digest, name):
                return {f"device:{digest.hex()}": LONGEST_WAIT}
        keys = {f"account:{digest_of(name).hex()}": LONGEST_WAIT_OF_ACCOUNT}
        if visit.address:
            keys[f"address:{network_of(visit.address)}"] = LONGEST_WAIT
        return keys

    async def _check(
        self, name: str, password: str, keys: dict[str, timedelta], visit: Visit
    ) -> _Checked:
        """Return what account the password opens."""
        loop = asyncio.get_running_loop()
        answer_at = loop.time() + self._answer_seconds
        hashed = await self._count(name, keys)
        fits, replacement = False, None
        password = normalized_password(password)
        if len(password) <= LONGEST:
            try:
                fits, replacement = await self._passwords.verify(password, hashed)
            except BusyError:
                async with self._database.writing() as connection:
                    for key in keys:
                        await store.take_failure_back(connection, key)
                raise
        async with self._database.writing() as connection:
            account = await accounts.named(connection, name)
            if fits and account is not None:
                for key in keys:
                    # One's own sign-in makes no address clean from which one guesses at others.
                    of_address = key.startswith("address:")
                    settle = store.take_failure_back if of_address else store.forget_failures
                    await settle(connection, key)
            elif account is not None:
                failed = Author("somebody", visit.address_text, visit.request)
                event = failed.did("sign_in_failed", self._clock(), name)
                await connection.run_sync(audit.insert, [event])
        if not fits or account is None:
            await asyncio.sleep(answer_at - loop.time())
            raise WrongPasswordError("The name or the password is not right.")
        if account.disabled_at is not None:
            raise WrongPasswordError("This account is disabled. Ask those who run this proxy.")
        return _Checked(account, hashed, replacement)

    async def _count(self, name: str, keys: dict[str, timedelta]) -> str | None:
        """Count a failure before it is one, so that many tries at once are counted; return the hash."""
        async with self._database.writing() as connection:
            now = self._clock()
            await store.forget_failures_before(connection, now - FORGOTTEN_AFTER)
            until = [
                waits_until(*failures, longest)
                for key, longest in keys.items()
                if (failures := await store.failures(connection, key))
            ]
            wait = max(until, default=now) - now
            # A longer one than any comes of a clock that has been put back since.
            if timedelta() < wait <= LONGEST_WAIT:
                raise WaitError(_whole_seconds(wait))
            for key in keys:
                await store.add_failure(connection, key, now)
            return await accounts.password_hash(connection, name)

    async def _create(
        self, connection: Connection, name: str, visit: Visit, *, allowed: bool
    ) -> Account:
        if not allowed:
            raise ServiceError(f"There is no account {name}. Ask those who run this proxy for one.")
        account = Account(name, administrator=False, service=False, created_at=self._clock())
        await accounts.insert(connection, account)
        details = {"by_header": True}
        event = visit.author(name).did("account_added", self._clock(), name, details=details)
        await connection.run_sync(audit.insert, [event])
        return account

    async def _start(
        self, connection: Connection, account: Account, visit: Visit, *, by_header: bool
    ) -> str:
        """Write a new session and return its secret."""
        now = self._clock()
        secret = secrets.token_urlsafe(32)
        browser = _writable(visit.browser[:_LONGEST_BROWSER])
        session = Session(
            make_id(), account.name, now, now, now, visit.address_text, browser, by_header=by_header
        )
        await sessions.delete_outside(connection, now - SESSION_LONGEST, now + SESSION_LONGEST)
        await sessions.insert(connection, session, digest_of(secret))
        for old in (await sessions.of_account(connection, account.name))[_MOST_SESSIONS:]:
            await sessions.delete(connection, old.id, account.name)
        await self._audit(connection, "signed_in", account.name, visit)
        return secret

    async def _audit(self, connection: Connection, event: str, account: str, visit: Visit) -> None:
        await connection.run_sync(
            audit.insert, [visit.author(account).did(event, self._clock(), account)]
        )


def _writable(text: str) -> str:
    """What came as bytes that are no UTF-8 can't be written: each becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def _whole_seconds(wait: timedelta) -> int:
    return max(1, -(-wait // timedelta(seconds=1)))
