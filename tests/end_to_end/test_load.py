"""Thirty people at once, while their tokens change under them."""

import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gitpat_proxy.access.model import Author
from gitpat_proxy.services.tokens import TokenFacts
from tests.support.git import Git, commit, make_repository
from tests.support.proxy import Proxy, wait_until
from tests.support.secrets_seen import SEEN

pytestmark = pytest.mark.alone  # a minute of all that the machine can do

CLIENTS = 30
SECONDS = int(os.environ.get("GITPAT_LOAD_SECONDS", "60"))


class Person:
    """Changes the own token, then tries what it should and should not be able to do."""

    def __init__(self, proxy: Proxy, number: int) -> None:
        self.proxy = proxy
        self.random = random.Random(number)
        self.branch = f"person-{number}"
        self.secret, self.token = proxy.make_token("code:write", account=f"person{number}")
        self.git = Git(proxy.home(self.branch), self.secret)
        self.git("clone", "--quiet", f"{proxy.url}/shared", "work")
        self.work = self.git.home / "work"
        self.done = 0

    def live(self, until: float) -> int:
        while time.monotonic() < until:
            step = self.random.choice(
                [
                    self.push,
                    self.push,
                    self.clone,
                    self.only_read,
                    self.nothing,
                    self.revoke,
                    self.rotate,
                ]
            )
            step()
            self.done += 1
        return self.done

    def push(self) -> None:
        self.scopes("code:write")
        commit(self.git, self.work, content=str(self.random.random()).encode())
        self.git("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{self.branch}", cwd=self.work)

    def clone(self) -> None:
        self.scopes("code:read")
        self.git("clone", "--quiet", "--bare", f"{self.proxy.url}/shared", f"clone-{self.done}")
        self.git("fsck", cwd=self.git.home / f"clone-{self.done}")

    def only_read(self) -> None:
        self.scopes("code:read")
        outcome = self.git.try_("push", "origin", f"HEAD:{self.branch}-x", cwd=self.work)
        assert "has the scope code:read, but git-receive-pack needs code:write" in outcome.text

    def nothing(self) -> None:
        self.scopes("work_items:read")
        assert "needs code:read" in self.git.try_("ls-remote", f"{self.proxy.url}/shared").text

    def revoke(self) -> None:
        self.scopes("code:write")
        self.proxy.services(lambda s: s.tokens.revoke([self.token.id], None, by=Author("test")))
        assert "was revoked on" in self.git.try_("ls-remote", f"{self.proxy.url}/shared").text
        self.secret, self.token = self.proxy.make_token("code:write", account=self.token.account)
        self.git.use(self.secret)

    def rotate(self) -> None:
        self.scopes("code:read")
        secret, _ = self.proxy.services(lambda s: s.tokens.rotate(self.token.id, by=Author("test")))
        SEEN.secrets.add(secret)
        outcome = self.git.try_("ls-remote", f"{self.proxy.url}/shared")
        assert "not a valid personal access token" in outcome.text
        self.git.use(secret)
        self.git("ls-remote", f"{self.proxy.url}/shared")

    def scopes(self, *scopes: str) -> None:
        facts = TokenFacts(scopes=scopes)
        self.proxy.services(lambda s: s.tokens.edit(self.token.id, facts, by=Author("test")))


def test_thirty_people_while_tokens_change(start_proxy: Callable[..., Proxy]) -> None:
    # Half of what they do are guesses with dead secrets, on purpose.
    proxy = start_proxy(limits={"unknown_tokens": 100_000})
    repository = make_repository(proxy.repositories / "shared.git", commits=50)
    people = [Person(proxy, number) for number in range(CLIENTS)]
    stop = threading.Event()
    operator = threading.Thread(target=_create_tokens, args=(proxy, stop))
    operator.start()
    until = time.monotonic() + SECONDS
    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            done = list(pool.map(lambda person: person.live(until), people))
    finally:
        stop.set()
        operator.join()
    assert min(done) > 0
    wait_until(lambda: not proxy.children(), 5, "the end of every git")
    wait_until(lambda: not proxy.open_pipes_and_sockets(), 5, "closed pipes and connections")
    Git(proxy.home("checks"))("fsck", "--strict", cwd=repository)
    assert not [line for line in proxy.log_lines() if (line["status"] or 0) >= 500]
    assert not proxy.log_lines("Error handling request")


def _create_tokens(proxy: Proxy, stop: threading.Event) -> None:
    """An operator with a shell, all the while."""
    while not stop.is_set():
        secret = proxy.ok(
            "token", "create", "--account", "person0", "--name", "Load", "--scope", "code:read"
        ).strip()
        SEEN.secrets.add(secret)
