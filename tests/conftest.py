"""Fixtures that all tests may use."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.git import make_repository
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN


def pytest_configure() -> None:
    """Hear Ctrl-C: what a shell starts in the background is deaf to it, and so are its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes says nothing on a machine that has other things to do.
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name gzipped bytes without the time that they hold: every process must come to the same names."""
    return "gzipped" if isinstance(val, bytes) and val.startswith(b"\x1f\x8b") else None


def pytest_sessionfinish() -> None:
    SEEN.stop()


@pytest.fixture(scope="session", autouse=True)
def no_secret_was_written_anywhere() -> Iterator[None]:
    """In no log, database, error text, process list or environment of all that this process ran."""
    yield
    leaks = SEEN.leaks()
    assert not leaks, "\n".join(["a secret was written", *leaks])


@contextmanager
def _proxies(folder: Path) -> Iterator[Callable[..., Proxy]]:
    started: list[Proxy] = []

    def start(name: str = "proxy", **config: Any) -> Proxy:
        proxy = Proxy(folder / name, **config)
        started.append(proxy)
        return proxy.start()

    yield start
    for proxy in started:
        if proxy.process:
            proxy.stop()


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    """Start proxies that end with the test."""
    with _proxies(tmp_path) as start:
        yield start


@pytest.fixture
def proxy(start_proxy: Callable[..., Proxy]) -> Proxy:
    """A proxy of the test's own, with one repository, team/app."""
    proxy = start_proxy()
    make_repository(proxy.repositories / "team" / "app.git")
    return proxy


@pytest.fixture(scope="module")
def shared_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One proxy for all tests of a file, each with repositories of its own; there is team/app."""
    with _proxies(tmp_path_factory.mktemp("shared")) as start:
        proxy = start()
        make_repository(proxy.repositories / "team" / "app.git")
        yield proxy
