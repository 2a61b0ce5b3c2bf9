"""Attacks on signing in: guesses, false names, borrowed headers, passwords and cookies in clear."""

import http.client
import re
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gitpat_proxy.web.visitor import csrf_token_of
from tests.support.certificate import make_certificate
from tests.support.proxy import Proxy, free_port
from tests.support.raw import basic
from tests.support.secrets_seen import SEEN
from tests.support.tools import skip
from tests.support.visitor import PASSWORD, Page, Visitor, person, rows

PROXY = "127.0.0.2"
"""The address of the TLS proxy in front, which is trusted."""
COMPANY = "127.0.0.3"
"""The address of the single-sign-on proxy."""
HEADER = "X-Forwarded-User"
WRONG = "certainly not that password"


class Upstream:
    """Keeps all bytes that come to it."""

    def __init__(self) -> None:
        self.received = b""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                with connection, suppress(OSError):
                    self.received += connection.recv(65536)
                    connection.sendall(
                        b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )


@dataclass
class Sites:
    """Two processes on one database.

    `public` has a TLS proxy in front and listens on all addresses; `local` is plain on loopback, and
    makes accounts for whom the single-sign-on proxy names.
    """

    public: Proxy
    local: Proxy
    upstream: Upstream
    last: int = field(default=0)

    def client(self, *, port: int = 0, address: str = "", **options: Any) -> Visitor:
        """Return somebody behind the TLS proxy, with an address of their own."""
        self.last += 1
        address = address or f"198.51.{self.last // 250}.{self.last % 250 + 1}"
        return Visitor(
            port or self.public.port, headers={"X-Forwarded-For": address}, source=PROXY, **options
        )

    def named(self, *names: str, source: str = COMPANY, port: int = 0) -> Visitor:
        """Return somebody for whom the single-sign-on proxy vouches."""
        headers = {HEADER: names[0]} if names else {}
        return Visitor(port or self.public.port, headers=headers, source=source)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    folder = tmp_path_factory.mktemp("sites")
    upstream = Upstream()
    port = free_port()
    common = {"trusted_proxies": [f"{PROXY}/32"]}
    header = {"name": HEADER, "from": [f"{COMPANY}/32"]}
    public = Proxy(
        folder / "public",
        port,
        listen=f"0.0.0.0:{port}",
        public_url="https://git.example.org",
        sign_in={"header": header},
        routes=[{"path": "/", "upstream": upstream.url}],
        **common,
    )
    local = Proxy(
        folder / "local",
        database=f"sqlite:///{public.folder}/gitpat.db",
        sign_in={"header": header | {"create_accounts": True}},
        **common,
    )
    try:
        public.start()
        local.start()
        for name in ("alice", "bob"):
            person(public, name)
        person(public, "machine", None, service=True)
        person(public, "without", None)
        yield Sites(public, local, upstream)
    finally:
        for proxy in (public, local):
            if proxy.process:
                proxy.stop()
        upstream.close()


def guess(visitor: Visitor, name: str = "alice", password: str = WRONG) -> Page:
    return visitor.submit("/-/sign-in", {"name": name, "password": password})


def is_signed_in(visitor: Visitor) -> bool:
    return visitor.get("/-/account").status == 200


def failures(sites: Sites) -> list[tuple[Any, ...]]:
    return rows(sites.public, "SELECT key, failures FROM failed_sign_ins ORDER BY key")


@pytest.fixture(autouse=True)
def _forgotten(sites: Sites) -> None:
    """Each test begins without failures."""
    rows(sites.public, "DELETE FROM failed_sign_ins")


# --- cookies and TLS


def attributes(cookie: str) -> set[str]:
    return {part.strip().lower() for part in cookie.split(";")[1:]}


def check_cookies(page: Page, *names: str) -> None:
    assert {cookie.partition("=")[0] for cookie in page.set_cookies} >= set(names)
    for cookie in page.set_cookies:
        assert cookie.startswith("__Host-gitpat-")
        assert attributes(cookie) - {"max-age=7776000", "max-age=0"} == {
            "httponly",
            "path=/",
            "samesite=lax",
            "secure",
        }


SESSION, DEVICE, ANONYMOUS = "__Host-gitpat-session", "__Host-gitpat-device", "__Host-gitpat-form"


def test_cookies_behind_tls_are_bound_to_it(sites: Sites) -> None:
    """Also where the proxy in front says nothing of TLS, and speaks plain HTTP itself."""
    for headers in ({}, {"X-Forwarded-Proto": "http"}, {"X-Forwarded-Proto": "https"}):
        visitor = sites.client()
        visitor.headers |= headers
        check_cookies(visitor.get("/-/sign-in"), ANONYMOUS)
        check_cookies(
            visitor.submit("/-/sign-in", {"name": "alice", "password": PASSWORD}), SESSION, DEVICE
        )
        check_cookies(visitor.submit("/-/sign-out", page="/-/tokens"), SESSION)
    check_cookies(sites.named("alice").get("/-/tokens"), SESSION)


def test_cookies_of_ones_own_tls(tmp_path: Path, start_proxy: Callable[..., Proxy]) -> None:
    certificate, key = make_certificate(tmp_path)
    header = {"name": HEADER, "from": [f"{COMPANY}/32"]}
    proxy = start_proxy(
        "tls",
        tls={"certificate": str(certificate), "key": str(key)},
        sign_in={"passwords": False, "header": header},
    )
    person(proxy, "alice")
    named = Visitor(proxy.port, tls=True, headers={HEADER: "alice"}, source=COMPANY)
    check_cookies(named.get("/-/tokens"), SESSION)
    assert is_signed_in(named)
    # No password is looked at where none is for signing in: it would be a place to try them.
    stranger = Visitor(proxy.port, tls=True)
    stranger.get("/-/sign-in")
    for password in (PASSWORD, WRONG):
        csrf = csrf_token_of(stranger.cookies[ANONYMOUS])
        page = stranger.post("/-/sign-in", {"csrf": csrf, "name": "alice", "password": password})
        assert page.status == 409
        assert not page.set_cookies
    assert not rows(proxy, "SELECT * FROM failed_sign_ins")
    # An earlier session with a password counts for nothing, nor do cookies by their plain names.
    for name in ("gitpat-session", "__host-gitpat-session", "__Secure-gitpat-session"):
        assert not is_signed_in(Visitor(proxy.port, tls=True, cookies={name: named.session}))


def with_cookies(visitor: Visitor, header: str) -> Visitor:
    """Let every request have this very header."""
    visitor.headers["Cookie"] = header
    return visitor


def test_what_a_neighbouring_host_can_set_is_no_cookie_of_ours(sites: Sites) -> None:
    """A cookie without the prefix's guarantees, which a lenient reader takes for one with them."""
    mallory = sites.client().sign_in("bob")
    secret = mallory.session
    for header in (
        f"gitpat-session={secret}",
        f"__host-gitpat-session={secret}",
        f"\u2000__Host-gitpat-session={secret}",
        f"\u00a0__Host-gitpat-session={secret}",
        f"\u0085__Host-gitpat-session={secret}",
        f"a=b __Host-gitpat-session={secret}",
        f"a=b\u3000__Host-gitpat-session={secret}",
        f"a=b,__Host-gitpat-session={secret}",
        f'a="b; x __Host-gitpat-session={secret}',
        f"=__Host-gitpat-session={secret}",
        f"$Version=1,__Host-gitpat-session={secret}",
        f"__Host-gitpat-session ={secret}",
        f"__Host-gitpat-session={secret}; __Host-gitpat-session=other",
        f"__Host-gitpat-session=other; __Host-gitpat-session={secret}",
    ):
        assert not is_signed_in(with_cookies(sites.client(), header)), header
    victim = sites.client().sign_in("alice")
    planted = f"{SESSION}={victim.session}; a=b {SESSION}={secret}; \u2003{SESSION}={secret}"
    assert "alice" in with_cookies(sites.client(), planted).get("/-/account").words
    assert is_signed_in(with_cookies(sites.client(), f"a=b;{SESSION}={secret};c"))


def test_who_says_that_it_was_tls_must_be_trusted(sites: Sites) -> None:
    """Where public_url is plain, X-Forwarded-Proto decides, from the proxy in front alone."""
    port = sites.local.port
    said = {"X-Forwarded-Proto": "https"}
    liar = Visitor(port, headers=said)
    assert all(cookie.startswith("gitpat-") for cookie in liar.get("/-/sign-in").set_cookies)
    for value in ("https", "HTTPS"):
        behind = sites.client(port=port)
        behind.headers |= {"X-Forwarded-Proto": value}
        check_cookies(behind.get("/-/sign-in"), ANONYMOUS)


def own_address() -> str:
    """Return an address of this machine that is not loopback's, or skip the test."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.254", 9))
        address = str(probe.getsockname()[0])
        if not address.startswith("127."):
            return address
    return skip("this machine has no network")


def test_no_password_crosses_a_network_in_clear(sites: Sites) -> None:
    """Not past the TLS proxy, and not where there is none."""
    address = own_address()
    for headers in ({}, {"X-Forwarded-Proto": "https"}, {"X-Forwarded-For": "127.0.0.1"}):
        connection = http.client.HTTPConnection(address, sites.public.port, timeout=20)
        connection.request("GET", "/-/sign-in", headers=headers)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        assert response.status == 403
        assert "needs https" in body
        assert "password" not in re.findall(r"<input[^>]*>", body)
        assert not response.getheader("Set-Cookie")
        assert response.getheader("X-Frame-Options") == "DENY"
    behind = sites.client(port=sites.local.port)
    for path in ("/-/sign-in", "/-/tokens", "/-/found"):
        page = behind.get(path)
        assert page.status == 403
        assert not page.set_cookies
    page = behind.post("/-/sign-in", {"csrf": "x", "name": "alice", "password": PASSWORD})
    assert page.status == 403
    assert not page.set_cookies
    assert not failures(sites)


# --- the header of the single-sign-on proxy


def test_the_header_counts_from_its_proxy_alone(sites: Sites) -> None:
    for source in ("127.0.0.1", PROXY, "127.0.0.4"):
        liar = sites.named("alice", source=source)
        liar.headers["X-Forwarded-For"] = COMPANY
        page = liar.get("/-/account")
        assert page.status == 303
        assert page.location.startswith("/-/sign-in")
        assert not is_signed_in(liar)
    named = sites.named("alice")
    assert "alice" in named.get("/-/account").words
    assert is_signed_in(named)


def test_odd_names_in_the_header(sites: Sites) -> None:
    count = rows(sites.public, "SELECT count(*) FROM accounts")
    for port in (sites.public.port, sites.local.port):
        for name, status in (
            ("", 303),
            ("alice, bob", 409),
            ("alice bob", 409),
            ("../alice", 409),
            ("<script>alert(1)</script>", 409),
            ("alice\x85", 409),
            ("älice", 409),
            ("a" * 65, 409),
            ("machine", 409),
            ("-", 409),
        ):
            page = sites.named(name, port=port).get("/-/account")
            assert page.status == status, name
            assert "<script>alert" not in page.text
            assert not [c for c in page.set_cookies if "session" in c]
    for header in ("X_Forwarded_User", "X-Forwarded-User-", "Remote-User"):
        page = Visitor(sites.public.port, headers={header: "alice"}, source=COMPANY).get("/-/account")
        assert page.status == 303
    assert rows(sites.public, "SELECT count(*) FROM accounts") == count


def test_two_headers_name_nobody(sites: Sites) -> None:
    for names in (("alice", "bob"), ("alice", "alice"), ("alice", "")):
        connection = http.client.HTTPConnection(
            "127.0.0.1", sites.public.port, timeout=20, source_address=(COMPANY, 0)
        )
        connection.putrequest("GET", "/-/account")
        for name in names:
            connection.putheader(HEADER, name)
        connection.endheaders()
        response = connection.getresponse()
        assert response.status == 303
        assert "session" not in str(response.getheaders()).lower()
        connection.close()


def test_accounts_are_made_only_where_that_is_on(sites: Sites) -> None:
    page = sites.named("newcomer").get("/-/account")
    assert page.status == 409
    assert "There is no account newcomer" in page.words
    with ThreadPoolExecutor(8) as threads:
        pages = list(
            threads.map(
                lambda _: sites.named("newcomer", port=sites.local.port).get("/-/account"), range(8)
            )
        )
    assert {page.status for page in pages} == {200}
    made = rows(
        sites.public,
        "SELECT administrator, service, password_hash FROM accounts WHERE name = 'newcomer'",
    )
    assert made == [(0, 0, None)]
    # Without a password there is none that fits.
    for password in ("", "None", PASSWORD):
        assert guess(sites.client(), "newcomer", password).status == 403


def test_a_session_by_the_header_ends_with_it(sites: Sites) -> None:
    named = sites.named("alice")
    assert is_signed_in(named)
    stolen = dict(named.cookies)
    assert not is_signed_in(sites.client(cookies=dict(stolen)))
    assert not is_signed_in(Visitor(sites.public.port, source=COMPANY, cookies=dict(stolen)))
    other = sites.named("bob")
    other.cookies = dict(stolen)
    assert "bob" in other.get("/-/account").words
    assert other.session != stolen[SESSION]
    ours = sites.named("alice")
    ours.cookies = dict(stolen)
    assert is_signed_in(ours)
    assert ours.session == stolen[SESSION]
    rows(sites.public, "UPDATE accounts SET disabled_at = 1 WHERE name = 'alice'")
    try:
        assert ours.get("/-/account").status == 409
        assert sites.named("alice").get("/-/account").status == 409
    finally:
        rows(sites.public, "UPDATE accounts SET disabled_at = NULL WHERE name = 'alice'")


def test_the_header_goes_no_further(sites: Sites) -> None:
    secret, _ = sites.public.make_token("code:read", account="bob")
    named = sites.named("alice")
    page = named.get(
        "/team/app/info/refs?service=git-upload-pack", {"Authorization": basic(secret), "Cookie": "a=b"}
    )
    assert page.status != 200
    assert sites.upstream.received
    for word in (HEADER.lower().encode(), b"alice", secret.encode(), b"cookie"):
        assert word not in sites.upstream.received.lower()
    # Nor does it open git, which takes tokens.
    assert named.get("/team/app/info/refs?service=git-upload-pack").status == 401
    events = rows(
        sites.public, "SELECT count(*) FROM audit WHERE account = 'alice' AND kind = 'refused'"
    )
    assert events == [(0,)]


# --- guesses


def comparable(page: Page, name: str) -> tuple[int, str, list[str]]:
    """What of an answer must not depend on whether there is such an account."""
    text = re.sub(r'name="csrf" value="[^"]*"', "", page.text).replace(name, "NAME")
    headers = [f"{key}: {value}" for key, value in page.headers if key not in {"Date", "Content-Length"}]
    return page.status, text, headers


@pytest.mark.alone  # Measures time.
def test_an_answer_does_not_tell_who_is_there(sites: Sites) -> None:
    names = ["alice", "nobody-here", "machine", "without"]
    times: dict[str, list[float]] = {name: [] for name in names}
    answers = []
    for _ in range(2):
        for name in names:
            visitor = sites.client()
            csrf = visitor.get("/-/sign-in").csrf
            started = time.perf_counter()
            page = visitor.post("/-/sign-in", {"csrf": csrf, "name": name, "password": WRONG})
            times[name].append(time.perf_counter() - started)
            answers.append(comparable(page, name))
    assert answers.count(answers[0]) == len(answers)
    assert answers[0][0] == 403
    medians = [statistics.median(values) for values in times.values()]
    assert min(medians) >= 0.5
    assert max(medians) - min(medians) < 0.25
    odd = ["x" * 257, "a\u0301" * 20_000, "\x00", ""]
    pairs = [(name, password) for password in odd for name in ("alice", "nobody-here")]
    rows(sites.public, "DELETE FROM failed_sign_ins")
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(lambda pair: comparable(guess(sites.client(), *pair), pair[0]), pairs[:8])
        )
    assert answers[0::2] == answers[1::2]
    rows(sites.public, "DELETE FROM failed_sign_ins")
    with ThreadPoolExecutor(2) as threads:
        waits = list(
            threads.map(
                lambda name: [guess(sites.client(), name).status for _ in range(6)],
                ("alice", "nobody-here"),
            )
        )
    assert waits == [[403] * 5 + [429]] * 2


def test_guesses_count_across_processes(sites: Sites) -> None:
    """Per account from many addresses, per address at many accounts."""
    ports = [sites.public.port, sites.local.port]

    def client(number: int, address: str = "") -> Visitor:
        visitor = sites.client(port=ports[number % 2], address=address)
        visitor.headers["X-Forwarded-Proto"] = "https"
        return visitor

    with ThreadPoolExecutor(6) as threads:
        statuses = list(threads.map(lambda n: guess(client(n)).status, range(6)))
    assert statuses.count(403) == 5
    assert statuses.count(429) == 1
    for number in range(2):
        page = guess(client(number), password=PASSWORD)
        assert page.status == 429
        assert 1 <= int(page.header("Retry-After") or 0) <= 30
    rows(sites.public, "DELETE FROM failed_sign_ins")
    with ThreadPoolExecutor(6) as threads:
        statuses = list(
            threads.map(lambda n: guess(client(n, "203.0.113.9"), f"name-{n}").status, range(6))
        )
    assert statuses.count(403) == 5
    assert guess(client(0, "203.0.113.9"), "bob", PASSWORD).status == 429
    assert guess(client(1), "bob", PASSWORD).status == 303


def test_a_hundred_guesses_at_once_are_no_more_than_one_after_the_other(sites: Sites) -> None:
    before = rows(sites.public, "SELECT count(*) FROM audit WHERE event = 'sign_in_failed'")[0][0]
    visitor = sites.client(address="203.0.113.77")
    csrf = visitor.get("/-/sign-in").csrf
    form = {"csrf": csrf, "name": "alice"}

    def one(number: int) -> int:
        own = sites.client(address="203.0.113.77", cookies=dict(visitor.cookies))
        return own.post("/-/sign-in", form | {"password": f"{WRONG} {number}"}).status

    with ThreadPoolExecutor(50) as threads:
        statuses = list(threads.map(one, range(100)))
    looked_at = statuses.count(403)
    assert set(statuses) == {403, 429}
    assert looked_at <= 7
    after = rows(sites.public, "SELECT count(*) FROM audit WHERE event = 'sign_in_failed'")[0][0]
    assert after - before == looked_at


def test_nobody_is_locked_out_of_a_browser_that_is_known(sites: Sites) -> None:
    home = sites.client(address="192.0.2.10").sign_in("alice")
    home.submit("/-/sign-out", page="/-/tokens")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: guess(sites.client(), "alice"), range(8)))
    assert guess(sites.client(), "alice", PASSWORD).status == 429
    assert guess(home, "alice", PASSWORD).status == 303
    # A browser that is known to somebody else is a stranger's.
    mallory = sites.client().sign_in("bob")
    thief = sites.client(cookies={DEVICE: mallory.cookies[DEVICE]})
    assert guess(thief, "alice", PASSWORD).status == 429
    # Nor may one that is known guess without end.
    home.submit("/-/sign-out", page="/-/tokens")
    for _ in range(5):
        assert guess(home, "alice").status == 403
    assert guess(home, "alice", PASSWORD).status == 429


def test_addresses_are_counted_by_what_one_customer_has(sites: Sites) -> None:
    with ThreadPoolExecutor(5) as threads:
        pages = threads.map(
            lambda n: guess(sites.client(address=f"2001:db8:1:2:{n}::{n}"), f"name-{n}"), range(5)
        )
        assert {page.status for page in pages} == {403}
    assert guess(sites.client(address="2001:db8:1:2:ffff::1"), "bob", PASSWORD).status == 429
    assert guess(sites.client(address="2001:db8:1:3::1"), "bob", PASSWORD).status == 303
    assert ("address:2001:db8:1:2::/64", 5) in failures(sites)


def test_a_false_address_helps_nobody(sites: Sites) -> None:
    """X-Forwarded-For counts from the proxy in front alone, and of it only what that one wrote."""

    def liar(number: int) -> Visitor:
        headers = {"X-Forwarded-For": f"203.0.113.{number}"}
        return Visitor(sites.local.port, headers=headers, source="127.0.0.9")

    def hop(number: int) -> Visitor:
        return sites.client(address=f"203.0.113.{number}, 203.0.113.99")

    for visitor_of, key in ((liar, "address:127.0.0.9/32"), (hop, "address:203.0.113.99/32")):
        names = [f"{visitor_of.__name__}-{number}" for number in range(5)]
        with ThreadPoolExecutor(5) as threads:
            pages = list(threads.map(guess, map(visitor_of, range(5)), names))
        assert {page.status for page in pages} == {403}
        assert dict(failures(sites))[key] == 5
        assert guess(visitor_of(9), "bob", PASSWORD).status == 429


def test_ones_own_account_does_not_buy_more_guesses(sites: Sites) -> None:
    for number in range(5):
        fresh = sites.client(address="203.0.113.55")
        assert guess(fresh, f"victim-{number}").status == 403
        if number < 4:
            assert guess(sites.client(address="203.0.113.55"), "bob", PASSWORD).status == 303
    assert guess(sites.client(address="203.0.113.55"), "victim").status == 429


def test_a_clock_that_was_put_back_locks_nobody_out(sites: Sites) -> None:
    guess(sites.client(address="203.0.113.60"))
    rows(sites.public, "UPDATE failed_sign_ins SET last_at = last_at + 86400000000, failures = 9")
    assert guess(sites.client(address="203.0.113.60"), password=PASSWORD).status == 303


def test_a_thief_of_a_session_can_not_guess_the_password_by_it(sites: Sites) -> None:
    stolen = sites.client().sign_in("bob")
    for number in range(5):
        form = {"password": f"{WRONG} {number}"}
        assert stolen.submit("/-/confirm", form).status == 403
    assert stolen.submit("/-/confirm", {"password": PASSWORD}).status == 429
    new = {"current": PASSWORD, "new": WRONG, "again": WRONG}
    page = stolen.submit("/-/account/password", new, page="/-/account")
    assert "Too many tries" in page.words
    SEEN.passwords.add(WRONG)


def test_many_sign_ins_at_once_are_answered_or_told_to_come_back(sites: Sites) -> None:
    def one(number: int) -> int:
        return guess(sites.client(address=f"203.0.113.{number}"), f"crowd-{number}").status

    with ThreadPoolExecutor(80) as threads:
        statuses = list(threads.map(one, range(80)))
        assert set(statuses) <= {403, 503}
    assert guess(sites.client(), "bob", PASSWORD).status == 303
    assert "Traceback" not in sites.public.log
