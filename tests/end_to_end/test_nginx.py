"""Behind nginx, as the README sets it up."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.git import Git, commit, make_repository
from tests.support.nginx import Nginx
from tests.support.proxy import Proxy
from tests.support.tools import require


@pytest.fixture
def proxy(start_proxy: Callable[..., Proxy]) -> Proxy:
    proxy = start_proxy(trusted_proxies=["127.0.0.1/32"])
    make_repository(proxy.repositories / "app.git")
    return proxy


@pytest.fixture
def nginx(proxy: Proxy, tmp_path: Path) -> Iterator[Nginx]:
    require("nginx")
    nginx = Nginx(tmp_path / "nginx", proxy.port)
    yield nginx
    nginx.stop()


@pytest.mark.parametrize("post_buffer", ["1048576", "1073741824"], ids=["chunked", "content-length"])
def test_a_large_push_and_a_clone(proxy: Proxy, nginx: Nginx, post_buffer: str) -> None:
    """nginx drops the rest of a body when the answer begins before it has come."""
    git = proxy.git("code:write", config={"http.postBuffer": post_buffer})
    git("clone", "--quiet", f"{nginx.url}/app", "work")
    for number in range(2):
        head = commit(git, git.home / "work", f"{number}.bin", os.urandom(40 * 1024 * 1024))
        git("push", "--quiet", "origin", "main", cwd=git.home / "work")
    git("clone", "--quiet", f"{nginx.url}/app", "again")
    assert git("rev-parse", "HEAD", cwd=git.home / "again").strip() == head


def test_what_git_refuses_early_is_told_after_the_body(proxy: Proxy, nginx: Nginx) -> None:
    git = proxy.git("code:write")
    repository = proxy.repositories / "app.git"
    Git(proxy.home("checks"))("config", "receive.maxInputSize", "1m", cwd=repository)
    git("clone", "--quiet", f"{nginx.url}/app", "work")
    commit(git, git.home / "work", "large.bin", os.urandom(20 * 1024 * 1024))
    for url in [proxy.url, nginx.url]:
        outcome = git.try_("push", f"{url}/app", "main", cwd=git.home / "work")
        assert "pack exceeds maximum allowed size" in outcome.text
        assert "RPC failed" not in outcome.text


def test_the_clients_address_and_a_refusal_come_through(proxy: Proxy, nginx: Nginx) -> None:
    git = proxy.git("work_items:read")
    outcome = git.try_("ls-remote", f"{nginx.url}/app")
    assert "has the scope work_items:read, but git-upload-pack needs code:read." in outcome.text
    assert proxy.log_lines()[-1]["address"] == "127.0.0.1"
