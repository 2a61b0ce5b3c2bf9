"""`python -m bench.pages`: server time of each page with 10,000 tokens and 1,000,000 events."""

import argparse
import json
import re
import sqlite3
import statistics
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.cookiejar import CookieJar
from pathlib import Path

from gitpat_proxy.access.identifier import make_id
from gitpat_proxy.access.model import AuditEvent, Author
from gitpat_proxy.cli.context import Services
from tests.support.proxy import Proxy

_PASSWORD = "Benchmarks are measured"
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS = 200
_PATHS = (
    "/-/tokens",
    "/-/tokens?status=all&search=9999",
    "/-/tokens?status=revoked",
    "/-/tokens/add",
    "/-/tokens/{id}",
    "/-/tokens/{id}/edit",
    "/-/tokens/{id}/activity",
    "/-/tokens/{id}/activity?kind=refused",
    "/-/activity",
    "/-/activity?kind=push",
    "/-/activity?kind=refused&repository=team/none",
    "/-/activity?address=203.0.113.9",
    "/-/account",
    "/-/administration/accounts",
    "/-/administration/tokens?search=nobody",
    "/-/administration/activity",
    "/-/administration/activity?repository=team/none",
    "/-/found",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=21, help="how often each page (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(Path(folder) / "proxy")
        token = _fill(proxy, arguments.tokens, arguments.events)
        proxy.start()
        try:
            _print(_measure(proxy, token, arguments.times))
        finally:
            proxy.stop()


def _fill(proxy: Proxy, tokens: int, events: int) -> str:
    """Make one administrator with all the tokens and all the events; return one token's id."""
    proxy.ok("database", "upgrade")

    async def add(services: Services) -> None:
        await services.accounts.add(
            "alice", administrator=True, service=False, password=_PASSWORD, by=Author("bench")
        )

    proxy.services(add)
    ids = [make_id() for _ in range(tokens)]
    now = datetime.now(UTC)
    with sqlite3.connect(proxy.folder / "gitpat.db") as connection:
        connection.executemany(
            "INSERT OR IGNORE INTO tokens (id, account_id, name, digest, hint, scopes, created_at, "
            "expires_at, revoked_at) VALUES (?, 1, ?, ?, 'gpat_…abcd', '[\"code:write\"]', ?, ?, ?)",
            _tokens(ids, now),
        )
        connection.executemany(
            "INSERT INTO audit (at, event, kind, account, token, repository, address, request, details) "
            "VALUES (?, ?, ?, 'alice', ?, ?, '192.0.2.7', 'abcdef012345', ?)",
            _events(ids, now, events),
        )
        connection.execute(
            "INSERT INTO token_uses SELECT token, at / 86400000000, count(*) FROM audit "
            "WHERE kind IN ('read', 'push') GROUP BY 1, 2"
        )
    connection.close()
    return ids[0]


def _tokens(ids: list[str], now: datetime) -> Iterator[tuple[object, ...]]:
    for number, token_id in enumerate(ids):
        created = _number(now - timedelta(minutes=number))
        revoked = created if number % 3 == 0 else None
        yield token_id, f"Token {number}", token_id.encode(), created, _number(now) * 2, revoked


def _events(ids: list[str], now: datetime, events: int) -> Iterator[tuple[object, ...]]:
    updates = [{"ref": "refs/heads/main", "old": "0" * 40, "new": "1" * 40, "outcome": "ok"}]
    for number in range(events):
        name, details = {
            0: ("push", {"updates": updates}),
            1: ("refused", {"code": "scope_missing", "service": "git-receive-pack"}),
        }.get(number % 1000, ("fetch", {}))
        at = now - timedelta(days=_DAYS) * number / events
        kind = AuditEvent(at, name).kind.value
        repository = f"team/app-{number % 500}"
        yield _number(at), name, kind, ids[number % len(ids)], repository, json.dumps(details)


def _number(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _measure(proxy: Proxy, token: str, times: int) -> dict[str, list[float]]:
    """Return the seconds that the server took for each page, as its log has them."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    form = browser.open(f"{proxy.url}/-/sign-in").read().decode()
    [csrf] = set(re.findall(r'name="csrf" value="(\w+)"', form))
    fields = {"csrf": csrf, "name": "alice", "password": _PASSWORD, "next": "/-/account"}
    request = urllib.request.Request(
        f"{proxy.url}/-/sign-in",
        urllib.parse.urlencode(fields).encode(),
        headers={"Sec-Fetch-Site": "same-origin"},
    )
    browser.open(request).read()
    seconds = {}
    for path in _PATHS:
        before = len(proxy.log_lines("page"))
        for _ in range(times):
            browser.open(proxy.url + path.format(id=token)).read()
        lines = proxy.log_lines("page")[before:]
        seconds[path] = [line["seconds"] for line in lines if line["status"] == 200]
    return seconds


def _print(measured: dict[str, list[float]]) -> None:
    print(f"{'page':52} {'median ms':>10} {'worst ms':>10}")
    for path, seconds in measured.items():
        if seconds:
            print(f"{path:52} {statistics.median(seconds) * 1000:10.1f} {max(seconds) * 1000:10.1f}")
        else:
            print(f"{path:52} redirected")


if __name__ == "__main__":
    main()
