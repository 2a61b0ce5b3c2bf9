"""Tokens end by themselves, on the real clock of the real process."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.support.git import Git, make_repository
from tests.support.proxy import Proxy
from tests.support.tools import LIBFAKETIME, require


def test_tokens_of_90_180_and_365_days_end_then(tmp_path: Path) -> None:
    require("libfaketime", found=LIBFAKETIME is not None)
    proxy = Proxy(tmp_path / "proxy")
    make_repository(proxy.repositories / "app.git")
    offset = tmp_path / "offset"
    offset.write_text("+0")
    proxy.start(
        {
            "LD_PRELOAD": str(LIBFAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    )

    def travel_to(moment: datetime, seconds: int) -> None:
        offset.write_text(f"{moment.timestamp() + seconds - time.time():+.0f}")

    try:
        for days in [90, 180, 365]:
            offset.write_text("+0")
            secret, token = proxy.make_token("code:read", expires=f"{days}d")
            assert token.expires_at
            assert (token.expires_at - token.created_at).days == days
            git = Git(proxy.home(), secret)
            git("ls-remote", f"{proxy.url}/app")
            travel_to(token.expires_at, -30)
            git("ls-remote", f"{proxy.url}/app")
            travel_to(token.expires_at, +1)
            outcome = git.try_("ls-remote", f"{proxy.url}/app")
            assert f"({token.id}) expired on {token.expires_at:%Y-%m-%d %H:%M} UTC." in outcome.text
    finally:
        proxy.stop()


def test_a_token_of_a_date_lasts_through_that_day(start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy()
    _, token = proxy.make_token("code:read", expires=f"{datetime.now(UTC):%Y-%m-%d}")
    assert token.expires_at == datetime.now(UTC).replace(hour=23, minute=59, second=59, microsecond=0)
