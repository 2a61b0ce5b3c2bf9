from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gitpat_proxy.store.database import Database
from tests.store.databases import a_database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with a_database(tmp_path) as database:
        yield database
