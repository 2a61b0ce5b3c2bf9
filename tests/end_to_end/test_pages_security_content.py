"""Attacks on the pages by what is typed: scripts, formulas, forged cursors, odd forms, races."""

import base64
import csv
import gzip
import io
import json
import random
import re
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urlencode

import psutil
import pytest

from gitpat_proxy.access.secret import make_secret
from gitpat_proxy.web.pages.activity import spreadsheet_safe
from tests.support.git import Git, commit
from tests.support.proxy import PROGRAM, Proxy, wait_until
from tests.support.raw import connect, exchange, request_bytes, status_of
from tests.support.secrets_seen import SEEN
from tests.support.visitor import (
    PASSWORD,
    SAME_ORIGIN,
    Page,
    Visitor,
    addresses_of_pages,
    person,
    rows,
)

SCRIPT = "<script>alert(1)</script>"
QUOTES = "\"'><img src=x onerror=alert(2)>{{7*7}}${7*7}"
FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded", **SAME_ORIGIN}


@pytest.fixture(scope="module")
def site(shared_proxy: Proxy) -> Proxy:
    """Alice and bob, and boss, who administers."""
    person(shared_proxy, "alice")
    person(shared_proxy, "bob")
    person(shared_proxy, "boss", administrator=True)
    return shared_proxy


@pytest.fixture(scope="module")
def alice(site: Proxy) -> Visitor:
    return Visitor(site.port, headers={"User-Agent": f"Firefox {SCRIPT}{QUOTES}"}).sign_in("alice")


@pytest.fixture(scope="module")
def bob(site: Proxy) -> Visitor:
    return Visitor(site.port).sign_in("bob")


@pytest.fixture(scope="module")
def boss(site: Proxy) -> Visitor:
    return Visitor(site.port).sign_in("boss")


# --- scripts


class _Elements(HTMLParser):
    """Finds what a browser would run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            is_address = name in {"src", "href", "action", "formaction", "data"}
            if name.startswith("on") or name == "style":
                self.found.append(f"{tag} {name}")
            if is_address and not re.match(r"/-/|#|https?://(127\.0\.0\.1|localhost)", value or ""):
                self.found.append(f"{tag} {name}={value}")
        if tag == "script" and not dict(attrs).get("src"):
            self.found.append(tag)
        if tag in {"iframe", "object", "embed", "base", "style"}:
            self.found.append(tag)


def check_inert(page: Page) -> None:
    elements = _Elements()
    elements.feed(page.text)
    assert not elements.found
    assert SCRIPT not in page.text
    assert "49" not in re.findall(r"onerror=alert\(2\)&gt;(..)", page.text)


@pytest.fixture(scope="module")
def told(site: Proxy, alice: Visitor, boss: Visitor, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Put scripts wherever somebody may put text; return the id of the token that did it all."""
    secret, token = alice.make_token(f"{SCRIPT}{QUOTES}"[:100])
    git = Git(tmp_path_factory.mktemp("evil") / "home", secret)
    work = git.home / "work"
    git("clone", f"{site.url}/team/app", str(work))
    commit(git, work)
    for ref in (
        f"refs/heads/{SCRIPT}".replace("/script", "x"),
        'refs/tags/"><img/src=x/onerror=alert(2)>',
    ):
        git("push", "origin", f"HEAD:{ref}", cwd=work)
    for name in (SCRIPT, QUOTES, "=cmd|'calc'!A0", "@SUM(1+1)"):
        assert not git.try_("ls-remote", f"{site.url}/{quote(name, safe='')}").ok
    spent, _ = alice.make_token("Spent", "code:read")
    found = Visitor(site.port).submit("/-/found", {"secret": spent, "note": f"=1+1{SCRIPT}"})
    assert "Thank you" in found.words
    _, other = alice.make_token(QUOTES)
    page = boss.submit(f"/-/administration/tokens/{other}/revoke", {"reason": f"{QUOTES}{SCRIPT}"})
    assert page.status == 303
    assert (
        alice.submit(
            f"/-/tokens/{token}/edit", {"name": f"@{SCRIPT}", "expires": "keep", "scope": "code:write"}
        ).status
        == 303
    )
    wait_until(lambda: "push" in str(rows(site, "SELECT kind FROM audit")), what="the audit")
    return token


def test_text_is_text_on_every_page(site: Proxy, alice: Visitor, boss: Visitor, told: str) -> None:
    [(session,)] = rows(
        site,
        "SELECT sessions.id FROM sessions JOIN accounts ON accounts.id = account_id"
        " WHERE name = 'alice' LIMIT 1",
    )
    seen = ""
    for visitor in (alice, boss):
        for address in addresses_of_pages("GET"):
            if address.endswith(".csv"):
                continue
            thing = session if "/sessions/" in address else told
            path = address.replace("{id}", thing).replace("{name}", "alice").replace("{record}", "1")
            for query in ("", "?status=all", "?status=revoked"):
                page = visitor.get(path + query)
                if page.status != 303:
                    check_inert(page)
                seen += page.text
    for text in (
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "refs/heads/&lt;script&gt;alert(1)&lt;x&gt;",
        "refs/tags/&#34;&gt;&lt;img/src=x",
        "=1+1&lt;script&gt;",
    ):
        assert text in seen, text


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/-/sign-in", ["next", "notice", "name"]),
        ("/-/confirm", ["next", "notice"]),
        ("/-/tokens", ["search", "status", "before", "notice", "account"]),
        ("/-/tokens/add", ["name", "expires", "date", "scope"]),
        ("/-/activity", ["kind", "repository", "address", "since", "account", "token", "before"]),
        ("/-/administration/activity", ["kind", "repository", "address", "since", "account"]),
        ("/-/administration/tokens", ["search", "status", "account"]),
        ("/-/administration/accounts", ["search", "after"]),
        ("/-/administration/add-account", ["name", "administrator", "service"]),
        ("/-/found", ["note", "secret"]),
        (f"/-/tokens/{quote(SCRIPT, safe='')}", ["x"]),
        (f"/-/administration/accounts/{quote(QUOTES, safe='')}", ["x"]),
    ],
)
def test_what_is_in_the_address_is_text(
    alice: Visitor, boss: Visitor, path: str, names: list[str]
) -> None:
    for value in (SCRIPT, QUOTES, "javascript:alert(1)", "</title><svg onload=alert(1)>", "\u202e\x00"):
        for visitor in (alice, boss, Visitor(boss.port)):
            page = visitor.get(f"{path}?{urlencode([(name, value) for name in names])}")
            assert page.status < 500
            if page.status != 303:
                check_inert(page)
            assert "<" not in page.location


def test_what_is_in_a_form_comes_back_as_text(alice: Visitor, boss: Visitor, told: str) -> None:
    typed = f"{SCRIPT}\n{QUOTES}"
    for visitor, path, names in (
        (alice, "/-/tokens/add", ["name", "expires", "date", "scope"]),
        (alice, f"/-/tokens/{told}/edit", ["name", "expires", "date", "scope"]),
        (alice, f"/-/tokens/{told}/revoke", ["reason"]),
        (alice, "/-/tokens/revoke-all", ["reason"]),
        (boss, "/-/administration/add-account", ["name", "password"]),
        (boss, f"/-/administration/tokens/{told}/revoke", ["reason"]),
        (Visitor(boss.port), "/-/found", ["secret", "note"]),
    ):
        page = visitor.submit(path, [(name, typed) for name in names])
        assert page.status in {200, 422}, path
        assert "Error: " in page.text
        check_inert(page)
    stranger = Visitor(boss.port, source="127.0.0.21")
    page = stranger.submit("/-/sign-in", {"name": typed, "password": typed, "next": typed})
    assert page.status == 403
    check_inert(page)


# --- formulas


@pytest.mark.parametrize(
    "text",
    [
        "=1",
        "+1",
        "-1",
        "@A",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\u00a0=1",
        " \t +1",
        "\t",
        "\r",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff20A",
        "=cmd|' /C calc'!A0",
        "-2+3",
        '=HYPERLINK("http://evil.example","x")',
    ],
)
def test_a_cell_begins_no_formula(text: str) -> None:
    assert spreadsheet_safe(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["", " ", "refs/heads/=cmd", "a=b", "192.0.2.1", "2026-01-01T00:00:00Z", "x-y"]
)
def test_other_cells_are_as_they_are(text: str) -> None:
    assert spreadsheet_safe(text) == text


def test_the_whole_activity_as_csv(alice: Visitor, boss: Visitor, told: str) -> None:
    for visitor, path in (
        (alice, "/-/activity.csv"),
        (alice, f"/-/tokens/{told}/activity.csv"),
        (boss, "/-/administration/activity.csv"),
    ):
        page = visitor.get(path)
        assert page.header("Content-Type") == "text/csv; charset=utf-8"
        assert (page.header("Content-Disposition") or "").startswith("attachment")
        lines = list(csv.reader(io.StringIO(page.text, newline="")))
        assert {len(line) for line in lines} == {14}
        cells = [cell for line in lines for cell in line]
        assert not [
            cell
            for cell in cells
            if cell.lstrip()[:1] in set("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20") - {""}
        ]
        assert "'" not in cells, "an empty cell is empty"
        assert any(cell.startswith("'@<script>") for cell in cells)
        assert any(cell.startswith("'=cmd|") for cell in cells)


def test_large_pushes_do_not_fill_the_memory(site: Proxy, bob: Visitor) -> None:
    """Thousands of refs in each of many pushes, and one look at the activity as CSV."""
    update = {"ref": f"refs/heads/{'x' * 100}", "old": "0" * 40, "new": "1" * 40, "outcome": "ng"}
    details = json.dumps({"updates": [update] * 5000})
    rows(
        site,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
        " INSERT INTO audit (at, event, account, details, kind)"
        " SELECT 2000000000000000 + i, 'push', 'bob', ?, 'push' FROM n",
        details,
    )
    before = psutil.Process(site.pid).memory_info().rss
    cookie = "; ".join(f"{name}={value}" for name, value in bob.cookies.items())
    try:
        with connect(site.port) as connection:
            connection.settimeout(120)
            connection.sendall(request_bytes("GET", "/-/activity.csv", f"Cookie: {cookie}"))
            received = 0
            while received < 1_000_000:
                received += len(connection.recv(65536))
            used = psutil.Process(site.pid).memory_info().rss - before
    finally:
        # They are in no chain: nothing could be added behind them.
        rows(site, "DELETE FROM audit WHERE at > 2000000000000000 AND account = 'bob'")
    assert used < 500 * 1024 * 1024
    assert bob.get("/-/tokens").status == 200
    assert "Traceback" not in site.log, "somebody who leaves is no failure"


# --- what is no form, no cursor, no filter of ours


def multipart(csrf: str) -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{csrf}\r\n--x--\r\n'.encode()


def test_what_is_no_form_of_ours_changes_nothing(site: Proxy, alice: Visitor) -> None:
    csrf = alice.get("/-/tokens/add").csrf
    good = urlencode({"csrf": csrf, "name": "x", "expires": "30d", "scope": "code:read"}).encode()
    before = rows(site, "SELECT count(*) FROM tokens") + rows(site, "SELECT count(*) FROM audit")
    bodies: list[tuple[bytes, dict[str, str]]] = [
        (good + b"&pad=" + b"x" * 70_000, {}),
        (good + b"&a=b" * 10_000, {}),
        (good + b"&name=\xff\xfe", {}),
        (good + b"&name=%ff%fe", {}),
        (good + b"&name=%ed%a0%80", {}),
        (good + b"&lonely", {}),
        (good.replace(b"name=x", b"name=%00"), {}),
        (good.replace(b"name=x", b"name=%0a"), {}),
        (good.replace(b"name=x", b"name=" + b"x" * 101), {}),
        (good.replace(b"30d", b"99999w"), {}),
        (good.replace(b"30d", b"0001-01-01"), {}),
        (good.replace(b"30d", b"9999-12-31T23:59:59-23:59"), {}),
        (good.replace(b"30d", b"date"), {}),
        (good.replace(b"code%3Aread", b"admin"), {}),
        (good.replace(b"code%3Aread", b"tokens%3Aintrospect"), {}),
        (good + b"&scope=nosuch", {}),
        (b"", {}),
        (b"&&&", {}),
        (gzip.compress(good), {"Content-Encoding": "gzip"}),
        (multipart(csrf), {"Content-Type": "multipart/form-data; boundary=x"}),
        (good, {"Content-Type": "text/plain"}),
        (good, {"Content-Type": "application/json"}),
        (good, {"Content-Type": ""}),
        (b'{"csrf":"%s"}' % csrf.encode(), {"Content-Type": "application/json"}),
        (good.decode().encode("utf-16"), {}),
    ]
    for body, headers in bodies:
        page = alice.send("POST", "/-/tokens/add", body, FORM_TYPE | headers)
        assert 400 <= page.status < 500, body[:60]
        assert page.header("X-Frame-Options") == "DENY"
        assert "Traceback" not in page.text
    after = rows(site, "SELECT count(*) FROM tokens") + rows(site, "SELECT count(*) FROM audit")
    assert after == before


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (("Content-Length: 500",), b"csrf="),
        (("Transfer-Encoding: chunked",), b"5\r\ncsrf=\r\n"),
        (("Transfer-Encoding: chunked",), b"zz\r\n"),
        (("Transfer-Encoding: chunked", "Content-Length: 5"), b"5\r\ncsrf=\r\n0\r\n\r\n"),
        (("Transfer-Encoding: xchunked",), b"5\r\ncsrf=\r\n0\r\n\r\n"),
        (("Content-Length: 5", "Content-Length: 6"), b"csrf=x"),
        (("Content-Length: -5",), b"csrf="),
        (("Content-Length: 0x5",), b"csrf="),
        (("Transfer-Encoding : chunked",), b"0\r\n\r\n"),
    ],
)
def test_forms_that_end_nowhere(
    site: Proxy, alice: Visitor, framing: tuple[str, ...], body: bytes
) -> None:
    cookie = "Cookie: " + "; ".join(f"{name}={value}" for name, value in alice.cookies.items())
    typed = [f"{name}: {value}" for name, value in FORM_TYPE.items()]
    smuggled = request_bytes("POST", "/-/sign-out", cookie)
    with connect(site.port) as connection:
        connection.sendall(request_bytes("POST", "/-/tokens/add", cookie, *typed, *framing, body=body))
        if status_of(body + b" 0") == 0:
            connection.sendall(smuggled)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        # What is sent behind a refused request may meet a connection that is closed already.
        with suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                answer += chunk
    assert status_of(answer) in {0, 400, 403}
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert alice.get("/-/tokens").status == 200


def test_a_slow_form_holds_nothing_up(site: Proxy, alice: Visitor) -> None:
    """Nor the database: what is being sent has no lock of it."""
    slow = [connect(site.port) for _ in range(50)]
    for connection in slow:
        request = request_bytes("POST", "/-/sign-in", *[f"{n}: {v}" for n, v in FORM_TYPE.items()])
        connection.sendall(request[:-2] + b"Content-Length: 1000\r\n\r\nname=")
    started = time.monotonic()
    assert (
        alice.submit("/-/tokens/add", {"name": "fast", "expires": "30d", "scope": "code:read"}).status
        == 200
    )
    assert time.monotonic() - started < 10
    for connection in slow:
        connection.close()


def forged(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


@pytest.mark.parametrize("path", ["/-/tokens", "/-/activity", "/-/activity.csv"])
def test_forged_cursors_and_filters_fail_politely(alice: Visitor, path: str) -> None:
    cursors = ["x", "!!!", "A" * 3000, "%00", "ä", "' OR 1=1 --"]
    cursors += [
        forged(text)
        for text in (
            b"1",
            b"1 2 3",
            b"1 x",
            b"x 1",
            b"1 " + b"9" * 30,
            b"9" * 30 + b" 1",
            b"-" + b"9" * 18 + b" 1",
            b"1 " + b"9" * 5000,
            b"1 -1",
            b"1 1\x00",
            b"1 \xff",
            b"1e9 1",
            b"1_0 1_0",
            b"\xd9\xa1 \xd9\xa1",
        )
    ]
    queries = [("before", cursor) for cursor in cursors]
    queries += [
        ("since", s) for s in ("0000-00-00", "0001-01-01", "9999-12-31", "2026-1-1", "x", "\x00")
    ]
    queries += [("status", s) for s in ("x", "", "\x00", "ACTIVE", "all' --")]
    queries += [("kind", s) for s in ("x", "\x00")]
    queries += [
        ("search", s) for s in ("%", "_", "/", "\x00", "%_" * 1500, "[a-z]*", "\ud7ff", "😀" * 300)
    ]
    for query in queries:
        page = alice.get(f"{path}?{urlencode([query])}")
        assert page.status in {200, 400, 404}, query
        assert page.header("X-Frame-Options") == "DENY"
    many = "&".join("search=%25" for _ in range(700))
    assert alice.get(f"{path}?{many}").status == 200


def test_a_wildcard_is_a_letter_like_others(alice: Visitor, told: str) -> None:
    for search in ("%", "_____", "%25", "a%c"):
        assert "No tokens here" in alice.get(f"/-/tokens?status=all&search={quote(search)}").words


def test_odd_bytes_in_the_head(site: Proxy, alice: Visitor) -> None:
    own = "; ".join(f"{name}={value}" for name, value in alice.cookies.items()).encode()
    heads = [
        b"GET /-/tokens?search=\xff HTTP/1.1\r\n",
        b"GET /-/tokens/\xff HTTP/1.1\r\n",
        b"GET /-/tokens/%ff%fe HTTP/1.1\r\n",
        b"GET /-/tokens/%ed%a0%80/edit HTTP/1.1\r\n",
        b"GET /-/tokens/%f0%9f%98%80 HTTP/1.1\r\n",
        b"GET /-/tokens/" + b"x" * 7000 + b" HTTP/1.1\r\n",
        b"GET /-/tokens/" + b"x" * 9000 + b" HTTP/1.1\r\n",
        b"GET /-/administration/accounts/%00/disable HTTP/1.1\r\n",
        b"GET /-/account HTTP/1.1\r\nUser-Agent: \xff\xc3\xfe\r\n",
        b"GET /-/account HTTP/1.1\r\nX-Forwarded-For: \xff\r\n",
        b"GET /-/account HTTP/1.1\r\nOrigin: \xff\r\n",
        b"GET /-/account HTTP/1.1\r\nX-Big: " + b"x" * 100_000 + b"\r\n",
        b"GET /-/account HTTP/1.1\r\n" + b"X-Many: x\r\n" * 2000,
        b"GET /-/account HTTP/1.0\r\n",
        b"GET http://evil.example/-/account HTTP/1.1\r\n",
    ]
    for cookie in (own, own.replace(b"gitpat-device=", b"gitpat-device=\xff\xfe")):
        for head in heads:
            request = head + b"Host: localhost\r\nConnection: close\r\nCookie: " + cookie + b"\r\n\r\n"
            assert status_of(exchange(site.port, request)) in {200, 400, 404, 431}, head[:60]
    for cookie in (
        b"\xff" * 50,
        b"a" * 7500,
        b'"',
        b"\xed\xa0\x80",
        b"; ; =",
        b"x; gitpat-session=y",
        b"'--",
    ):
        for name in (b"gitpat-session", b"gitpat-form", b"gitpat-device"):
            head = (
                b"GET /-/tokens HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: "
                + name
                + b"="
                + cookie
            )
            assert status_of(exchange(site.port, head + b"\r\n\r\n")) == 303, cookie[:20]
    assert "Traceback" not in site.log


# --- at the same time


def at_once(number: int, act: Callable[[int], Page]) -> list[Page]:
    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(act, range(number)))


def secrets_in(pages: list[Page]) -> list[str]:
    found = [secret for page in pages for secret in re.findall(r"gpat_[0-9A-Za-z]{46}", page.text)]
    SEEN.secrets.update(found)
    return found


def test_a_form_that_is_sent_twenty_times_makes_one_token(site: Proxy, alice: Visitor) -> None:
    form = alice.get("/-/tokens/add")
    fields = {
        "csrf": form.csrf,
        "form_key": form.hidden("form_key"),
        "name": "Twenty",
        "expires": "30d",
        "scope": "code:read",
    }
    pages = at_once(20, lambda _: alice.post("/-/tokens/add", fields))
    assert sorted(page.status for page in pages) == [200] + [303] * 19
    assert len(set(secrets_in(pages))) == 1
    assert rows(site, "SELECT count(*) FROM tokens WHERE name = 'Twenty'") == [(1,)]
    again = alice.post("/-/tokens/add", fields)
    assert "was shown once" in alice.get(again.location).words
    # Also where somebody went back and changed what stands in it.
    changed = alice.post("/-/tokens/add", fields | {"name": "Other"})
    assert (changed.status, changed.location) == (303, again.location)
    assert rows(site, "SELECT count(*) FROM tokens WHERE name = 'Other'") == [(0,)]


def test_a_token_that_is_regenerated_twenty_times_is_so_once(site: Proxy, alice: Visitor) -> None:
    _, token = alice.make_token("Rotating", "code:read")
    form = alice.get(f"/-/tokens/{token}/regenerate")
    [action] = re.findall(r'action="([^"]*regenerate[^"]*)"', form.text)
    pages = at_once(20, lambda _: alice.post(action, {"csrf": form.csrf}))
    assert sorted(page.status for page in pages) == [200] + [303] * 19
    assert len(set(secrets_in(pages))) == 1
    events = rows(site, "SELECT count(*) FROM audit WHERE token = ? AND event = 'token_rotated'", token)
    assert events == [(1,)]


def test_a_form_key_is_of_one_account(alice: Visitor, bob: Visitor) -> None:
    fields = {"form_key": "the same", "name": "Keyed", "expires": "30d", "scope": "code:read"}
    for visitor in (alice, bob):
        page = visitor.post("/-/tokens/add", fields | {"csrf": visitor.get("/-/tokens/add").csrf})
        assert page.status == 200
        assert len(set(secrets_in([page]))) == 1


# --- what is somebody else's


def nameless(page: Page) -> str:
    """The answer but for what it repeats of the address, and what is new each time."""
    text = re.sub(r'name="csrf" value="[^"]*"', "", page.text)
    return re.sub(r"[a-z]{5}-[a-z]{5}", "ID", text)


def test_tokens_of_others_are_as_if_not_there(
    site: Proxy, alice: Visitor, bob: Visitor, told: str
) -> None:
    _, living = alice.make_token("Living")
    before = rows(site, "SELECT * FROM tokens ORDER BY id")
    own = [
        a
        for a in addresses_of_pages("GET") + addresses_of_pages("POST")
        if a.startswith("/-/tokens/{id}")
    ]
    assert len(own) >= 9
    csrf = bob.get("/-/tokens").csrf
    form = {"csrf": csrf, "name": "Mine now", "expires": "30d", "scope": "code:read", "reason": "x"}
    for address in own:
        for method in ("GET", "POST"):
            theirs, missing = (
                bob.get(address.replace("{id}", token))
                if method == "GET"
                else bob.post(address.replace("{id}", token), form)
                for token in (living, "babab-babab")
            )
            assert theirs.status == missing.status == 404
            assert nameless(theirs) == nameless(missing)
    listed = (
        bob.get("/-/tokens?status=all&account=alice").text + bob.get("/-/activity?account=alice").text
    )
    assert living not in listed
    assert "Pushed" not in bob.get(f"/-/activity?token={told}").words
    assert told not in bob.get("/-/activity.csv?account=alice").text
    assert rows(site, "SELECT * FROM tokens ORDER BY id") == before


def test_the_administration_is_as_if_not_there(site: Proxy, bob: Visitor, told: str) -> None:
    assert "administration" not in bob.get("/-/tokens").text
    csrf = bob.get("/-/tokens").csrf
    form = {"csrf": csrf, "name": "eve", "administrator": "1", "new": PASSWORD, "again": PASSWORD}
    answers = set()
    for address in addresses_of_pages("GET") + addresses_of_pages("POST"):
        if not address.startswith("/-/administration"):
            continue
        for account, token in (("alice", told), ("nobody", "babab-babab")):
            path = address.replace("{id}", token).replace("{name}", account).replace("{record}", "1")
            is_form = address in addresses_of_pages("POST")
            for page in [bob.get(path)] * (address in addresses_of_pages("GET")) + (
                [bob.post(path, form)] if is_form else []
            ):
                assert page.status == 404
                answers.add(nameless(page))
    assert len(answers) == 1
    assert rows(site, "SELECT count(*) FROM accounts WHERE name = 'eve'") == [(0,)]


def test_administrators_neither_see_nor_make_what_is_others(
    site: Proxy, alice: Visitor, boss: Visitor
) -> None:
    secret, token = alice.make_token("Not yours")
    csrf = boss.get("/-/tokens").csrf
    form = {"csrf": csrf, "name": "Mine now", "expires": "30d", "scope": "admin", "account": "alice"}
    for action in ("edit", "regenerate", "revoke"):
        assert boss.get(f"/-/tokens/{token}/{action}").status == 404
        assert boss.post(f"/-/tokens/{token}/{action}", form).status == 404
        if action != "revoke":
            path = f"/-/administration/tokens/{token}/{action}"
            assert boss.get(path).status == boss.post(path, form).status == 404
    made = boss.post("/-/tokens/add", form)
    assert made.status == 200
    secrets_in([made])
    owner = rows(
        site,
        "SELECT accounts.name FROM tokens JOIN accounts ON accounts.id = account_id"
        " WHERE tokens.name = 'Mine now'",
    )
    assert owner == [("boss",)]
    seen = "".join(
        boss.get(path).text
        for path in (
            "/-/administration/tokens",
            f"/-/administration/tokens/{token}/revoke",
            f"/-/administration/activity?token={token}",
            "/-/administration/accounts/alice",
        )
    )
    assert "Not yours" in seen
    assert secret not in seen
    assert "argon2" not in seen
    assert not re.search(r"[0-9a-f]{64}", re.sub(r'name="csrf" value="[^"]*"', "", seen))


# --- what was found


@pytest.mark.alone  # Measures time.
def test_the_answer_to_a_found_secret_says_nothing(site: Proxy, alice: Visitor) -> None:
    ours, _ = alice.make_token("Lost", "code:read")
    stranger = Visitor(site.port, source="127.0.0.31")
    form = stranger.get("/-/found")
    wrong = ours[:-1] + ("0" if ours[-1] != "0" else "1")
    not_ours = make_secret()
    answers, times = [], []
    for secret in (ours, ours, not_ours, wrong, "no secret at all", SCRIPT):
        started = time.perf_counter()
        answers.append(
            stranger.post("/-/found", {"csrf": form.csrf, "secret": secret, "note": "in a log"})
        )
        times.append(time.perf_counter() - started)
    assert {(page.status, page.text, page.header("Content-Length")) for page in answers} == {
        (200, answers[0].text, answers[0].header("Content-Length"))
    }
    assert max(times) - min(times) < 1
    for _ in range(10):
        last = stranger.post("/-/found", {"csrf": form.csrf, "secret": not_ours})
    assert last.status == 429
    assert int(last.header("Retry-After") or 0) > 0
    assert Visitor(site.port, source="127.0.0.32").submit("/-/found", {"secret": ours}).status == 200
    assert "found: in a log" in alice.get("/-/tokens?status=revoked&search=Lost").words


# --- secrets


def test_nothing_secret_is_written(site: Proxy, alice: Visitor) -> None:
    """A password that is typed where the name belongs, one that is wrong, the cookies of a session."""
    typed = [f"a password of {random.random()} in a wrong place" for _ in range(4)]
    stranger = Visitor(site.port, source="127.0.0.41")
    stranger.submit("/-/sign-in", {"name": typed[0], "password": "x"})
    stranger.submit("/-/sign-in", {"name": "alice", "password": typed[1]})
    csrf = stranger.get("/-/sign-in").csrf
    stranger.post("/-/sign-in", {"csrf": "wrong", "name": typed[2], "password": typed[2]})
    stranger.get(f"/-/sign-in?name=alice&password={quote(typed[3])}")
    carol = Visitor(site.port).sign_in("alice")
    made, _ = carol.make_token("Written")
    carol.get(f"/-/tokens?search={made}")
    carol.get(f"/-/tokens/{made}")
    wanted = [*typed, *map(quote, typed), PASSWORD, made, csrf, *carol.cookies.values()]
    time.sleep(0.1)
    for path in site.folder.rglob("*"):
        if path.is_file() and "repositories" not in path.parts:
            content = path.read_bytes().decode("latin-1")
            assert not [secret for secret in wanted if secret in content], path
    shown = site.ok("audit", "--json")
    assert not [secret for secret in wanted if secret in shown]


def test_passwords_are_in_no_process_list(site: Proxy, tmp_path: Path) -> None:
    password = f"{random.random()} is not in the process list"
    SEEN.passwords.add(password)
    command = [PROGRAM, "--config", str(site.config_file), "account"]
    with subprocess.Popen(
        [*command, "add", "frank", "--password-stdin"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as adding:
        assert adding.stdin is not None
        adding.stdin.write(f"{password}\n".encode())
        adding.stdin.flush()
        seen = ""
        while adding.poll() is None:
            for name in ("cmdline", "environ"):
                with suppress(OSError):
                    seen += Path(f"/proc/{adding.pid}/{name}").read_bytes().decode("latin-1")
            time.sleep(0.02)
    assert adding.returncode == 0
    assert "frank" in seen
    assert password not in seen
    Visitor(site.port).sign_in("frank", password)
    htpasswd = tmp_path / "htpasswd"
    htpasswd.write_text("hanna:{SHA}" + base64.b64encode(b"x" * 20).decode() + "\nivan:x\n")
    outcome = site.cli("account", "import-htpasswd", str(htpasswd))
    assert "line 2" in outcome.text
    assert "{SHA}" not in outcome.text


# --- without a database


def test_without_a_database_there_is_a_page_and_no_traceback(site: Proxy, alice: Visitor) -> None:
    form = Visitor(site.port, source="127.0.0.51")
    csrf = form.get("/-/sign-in").csrf
    database = site.folder / "gitpat.db"
    away = site.folder / "gitpat.db.away"
    database.rename(away)
    try:
        pages = [
            alice.get("/-/tokens"),
            alice.get("/-/activity.csv"),
            form.post("/-/sign-in", {"csrf": csrf, "name": "alice", "password": PASSWORD}),
        ]
    finally:
        away.rename(database)
    for page in pages:
        assert page.status == 503
        assert page.header("X-Frame-Options") == "DENY"
        assert "sqlite" not in page.text.lower()
        assert str(site.folder) not in page.text
    assert "Traceback" not in site.log
