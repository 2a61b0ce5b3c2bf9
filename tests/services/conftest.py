from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gitpat_proxy.access.model import Author
from gitpat_proxy.config.model import Config
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.passwords import Passwords
from gitpat_proxy.services.sessions import Sessions
from gitpat_proxy.services.sign_in import SignIn
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store.database import Database
from tests.access.examples import NOW
from tests.store.databases import a_database

ROUTES = [{"path": "/", "upstream": "http://host"}]


class FakeClock:
    """Stands still until it is moved; not at a whole second, as real ones never are."""

    def __init__(self) -> None:
        self.now = NOW + timedelta(microseconds=700_000)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="module")
def content() -> bytes | None:
    """What the databases of a file's tests begin with; None: with nothing."""
    return None


@pytest.fixture
async def database(tmp_path: Path, content: bytes | None) -> AsyncIterator[Database]:
    async with a_database(tmp_path, content) as database:
        sa.event.listen(database.engine, "connect", _without_the_disk)
        yield database


def _without_the_disk(connection: Any, _record: object) -> None:
    """No power cut comes here."""
    connection.execute("PRAGMA synchronous = OFF")


PASSWORDS = Passwords()


@pytest.fixture
def accounts(database: Database, clock: FakeClock) -> Accounts:
    return Accounts(database, clock, PASSWORDS)


@pytest.fixture
def sign_in(database: Database, clock: FakeClock) -> SignIn:
    """The service, which in these tests answers at once."""
    return SignIn(database, clock, PASSWORDS, answer_seconds=0)


@pytest.fixture
def sessions(database: Database, clock: FakeClock) -> Sessions:
    return Sessions(database, clock)


@pytest.fixture
async def tokens(database: Database, clock: FakeClock, accounts: Accounts) -> Tokens:
    """The service, with an account `alice` and one scope in the catalogue."""
    await accounts.add("alice", administrator=False, service=False, by=Author("test"))
    config = Config.model_validate(
        {"routes": ROUTES, "scopes": {"work_items:read": "Work items (read)"}}
    )
    return Tokens(database, clock, config)
