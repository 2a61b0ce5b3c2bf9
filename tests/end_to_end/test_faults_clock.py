"""The clock jumps forth and back under a proxy that serves; docs/decisions/0013-clock.md."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.git import Git, make_repository
from tests.support.proxy import Proxy, wait_until
from tests.support.tools import LIBFAKETIME, require
from tests.support.visitor import Visitor, person

DAY = 24 * 60 * 60


class Clock:
    """The clock of a proxy, to be put forth and back."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.put(0)

    def put(self, seconds: float) -> None:
        """Let it be so far ahead of the real one."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+.0f}")
        new.replace(self._file)

    def put_past(self, moment: datetime | None) -> None:
        assert moment is not None
        self.put(moment.timestamp() - time.time() + 2)

    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBFAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    require("libfaketime", found=LIBFAKETIME is not None)
    return Clock(tmp_path / "offset")


@pytest.fixture
def proxy(tmp_path: Path, clock: Clock) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path / "proxy")
    make_repository(proxy.repositories / "app.git")
    try:
        yield proxy.start(clock.environment())
    finally:
        if proxy.process:
            proxy.stop()


@pytest.fixture
def remote(proxy: Proxy) -> Callable[[Git], str]:
    """Return what git prints for a person."""
    return lambda git: git.try_("ls-remote", f"{proxy.url}/app").text


def test_an_expired_token_never_comes_back_to_life(
    proxy: Proxy, clock: Clock, remote: Callable[[Git], str]
) -> None:
    secret, token = proxy.make_token("code:read", expires="30d")
    longer, _ = proxy.make_token("code:read", expires="300d")
    git, other = Git(proxy.home("git"), secret), Git(proxy.home("other"), longer)
    assert "refs/heads/main" in remote(git)
    clock.put_past(token.expires_at)
    assert "expired on" in remote(git)
    for seconds in (0, 40 * DAY, -DAY, 0):
        clock.put(seconds)
        assert f"({token.id}) expired on {token.expires_at:%Y-%m-%d %H:%M} UTC." in remote(git)
        assert "refs/heads/main" in remote(other)
    status, text = proxy.get("/-/api/v1/self", {"Authorization": f"Bearer {secret}"})
    assert (status, '"code":"token_expired"' in text) == (401, True)


def test_a_clock_that_was_far_ahead_for_a_moment(
    proxy: Proxy, clock: Clock, remote: Callable[[Git], str]
) -> None:
    """Only what was used meanwhile has ended; the rest, and what is made afterwards, goes on."""
    used, _ = proxy.make_token("code:read", expires="30d")
    unused, _ = proxy.make_token("code:read", expires="30d")
    person(proxy, "ada")
    before = Visitor(proxy.port).sign_in("ada")
    clock.put(70 * 365 * DAY)
    assert "expired on" in remote(Git(proxy.home("used"), used))
    assert before.get("/-/tokens").status == 303
    during = Visitor(proxy.port).sign_in("ada")
    assert during.get("/-/tokens").status == 200
    clock.put(0)
    # A session from the future would last until then.
    assert during.get("/-/tokens").status == 303
    after = Visitor(proxy.port).sign_in("ada")
    assert after.get("/-/tokens").status == 200
    assert "expired on" in remote(Git(proxy.home("used"), used))
    assert "refs/heads/main" in remote(Git(proxy.home("unused"), unused))
    new, _ = proxy.make_token("code:read", expires="1d")
    assert "refs/heads/main" in remote(Git(proxy.home("new"), new))
    assert "each as it was written" in proxy.ok("audit", "verify")
    # Another process, which has not seen it, judges by the clock that is right now.
    proxy.stop()
    proxy.start(clock.environment())
    assert "refs/heads/main" in remote(Git(proxy.home("used"), used))


def test_a_clock_that_is_put_back_keeps_nobody_from_signing_in(proxy: Proxy, clock: Clock) -> None:
    person(proxy, "ada")
    wrong = {"name": "ada", "password": "not it"}
    # Each time one has to wait longer, until that is more than a slow machine takes in between.
    tries = (Visitor(proxy.port).submit("/-/sign-in", wrong).status for _ in range(20))
    assert 429 in tries
    clock.put(-30 * DAY)
    assert Visitor(proxy.port).sign_in("ada").get("/-/tokens").status == 200


def test_the_audit_goes_on_whatever_the_clock_says(
    proxy: Proxy, clock: Clock, remote: Callable[[Git], str]
) -> None:
    git = proxy.git("code:read", home="git", config={"protocol.version": "0"})
    for number, seconds in enumerate((0, 90 * 365 * DAY, -3 * 365 * DAY, 0)):
        clock.put(seconds)
        proxy.make_token("code:read")
        work = f"clone-{number}"
        git.try_("clone", "--quiet", f"{proxy.url}/app", work)
    # Made for 90 days, it had expired in the second round.
    wait_until(lambda: "  clone  " in proxy.ok("audit", "--since", "9999d"))
    assert "each as it was written" in proxy.ok("audit", "verify")
    assert proxy.log_lines("failed") == []
