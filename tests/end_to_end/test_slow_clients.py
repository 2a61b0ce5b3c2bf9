"""Many slow clients at once: what they cost, that others are served, that nothing of them is left."""

import os
from collections.abc import Callable

import psutil
import pytest

from gitpat_proxy.git.pktline import pkt_line
from tests.support.git import commit, make_repository
from tests.support.proxy import Proxy, wait_until
from tests.support.raw import service_request
from tests.support.slow_clients import SlowClients

pytestmark = pytest.mark.alone  # 2,700 connections, and what they cost

MEBIBYTE = 1024 * 1024
MOST_MEMORY = 150 * MEBIBYTE


@pytest.fixture
def loaded(start_proxy: Callable[..., Proxy]) -> tuple[Proxy, str]:
    """A proxy with a repository that no socket's buffers hold, and a secret for it."""
    proxy = start_proxy()
    make_repository(proxy.repositories / "team" / "app.git")
    git = proxy.git("code:write")
    git("clone", "--quiet", f"{proxy.url}/team/app", "work")
    work = git.home / "work"
    commit(git, work, "large.bin", os.urandom(6 * MEBIBYTE))
    git("push", "--quiet", "origin", "main", cwd=work)
    return proxy, git.secret


def memory_of(proxy: Proxy) -> int:
    """Return what the proxy and all its children have in memory of their own, in bytes."""
    total = 0
    for process in [psutil.Process(proxy.pid), *proxy.children()]:
        try:
            total += process.memory_full_info().uss
        except psutil.Error:
            continue
    return total


def clone_request(proxy: Proxy, secret: str) -> bytes:
    git = proxy.git("code:read", home="asking")
    head = git("ls-remote", f"{proxy.url}/team/app", "refs/heads/main").split()[0]
    body = b"".join(
        [
            pkt_line(b"command=fetch"),
            b"0001",
            pkt_line(b"want " + head.encode() + b"\n"),
            pkt_line(b"done\n"),
            b"0000",
        ]
    )
    return service_request("git-upload-pack", secret, body, "Git-Protocol: version=2")


def test_many_slow_clients(loaded: tuple[Proxy, str]) -> None:
    """200 that stop reading a clone, 2,000 that say nothing, 500 that push a byte a second."""
    proxy, secret = loaded
    clone = clone_request(proxy, secret)
    clients = SlowClients(proxy.port)
    try:
        clients.stay_idle(2000)
        for _ in range(10):
            clients.stop_reading(20, clone)
        # As long as git works it costs what it costs; then only clients are left that do not take it.
        wait_until(lambda: not proxy.children(), 120, "all clones in their files")
        clients.drip(500, secret)
        outcome = proxy.git("code:read", home="other").try_("ls-remote", f"{proxy.url}/team/app")
        assert outcome.ok, outcome.text
        assert memory_of(proxy) < MOST_MEMORY
    finally:
        clients.vanish()
    wait_until(lambda: not proxy.children(), 5, "the end of every git")
    wait_until(lambda: not proxy.open_pipes_and_sockets(), 5, "closed pipes and connections")
