"""Fixtures that all tests may use."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.git import make_repository
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN

LAST = "test_no_secret_was_written_anywhere"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The look for leaked secrets comes when all others have used theirs."""
    items.sort(key=lambda item: item.name == LAST)


def pytest_sessionfinish() -> None:
    SEEN.stop()


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    """Start proxies that end with the test."""
    started: list[Proxy] = []

    def start(name: str = "proxy", **config: Any) -> Proxy:
        proxy = Proxy(tmp_path / name, **config)
        started.append(proxy)
        proxy.start()
        return proxy

    yield start
    for proxy in started:
        if proxy.process:
            proxy.stop()


@pytest.fixture
def proxy(start_proxy: Callable[..., Proxy]) -> Proxy:
    """A proxy with one repository, team/app."""
    proxy = start_proxy()
    make_repository(proxy.repositories / "team" / "app.git")
    return proxy
