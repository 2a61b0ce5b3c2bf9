import asyncio
from pathlib import Path

import pytest

from gitpat_proxy.store.database import Database, upgrade
from tests.support.proxy import Proxy


@pytest.fixture
def proxy(tmp_path: Path) -> Proxy:
    """An installation with a database and an account alice; nothing is served."""
    proxy = Proxy(tmp_path / "proxy")

    async def make() -> None:
        async with Database(f"sqlite:///{proxy.folder}/gitpat.db") as database:
            await upgrade(database)

    asyncio.run(make())
    proxy.make_account("alice")
    return proxy
