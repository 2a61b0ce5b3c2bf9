from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gitpat_proxy.config.model import Config
from gitpat_proxy.services.accounts import Accounts
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


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with a_database(tmp_path) as database:
        yield database


@pytest.fixture
def accounts(database: Database, clock: FakeClock) -> Accounts:
    return Accounts(database, clock)


@pytest.fixture
async def tokens(database: Database, clock: FakeClock, accounts: Accounts) -> Tokens:
    """The service, with an account `alice` and one scope in the catalogue."""
    await accounts.add("alice", administrator=False, service=False, by="test")
    config = Config.model_validate(
        {"routes": ROUTES, "scopes": {"work_items:read": "Work items (read)"}}
    )
    return Tokens(database, clock, config)
