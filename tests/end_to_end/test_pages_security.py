"""Attacks on the pages: forged forms, planted and stolen sessions, frames, redirects, false hosts."""

import re
from urllib.parse import parse_qs, quote, unquote, urljoin, urlsplit

import pytest

from tests.support.proxy import Proxy
from tests.support.raw import exchange, request_bytes, status_of
from tests.support.secrets_seen import SEEN
from tests.support.visitor import (
    PASSWORD,
    SAME_ORIGIN,
    Page,
    Visitor,
    addresses_of_pages,
    path_of,
    person,
    rows,
)

EVIL = "evil.example"
FORM = {"name": "Forged", "expires": "30d", "scope": "code:write"}


@pytest.fixture(scope="module")
def site(shared_proxy: Proxy) -> Proxy:
    """Alice and bob, and boss, who administers."""
    person(shared_proxy, "alice")
    person(shared_proxy, "bob")
    person(shared_proxy, "boss", administrator=True)
    return shared_proxy


@pytest.fixture(scope="module")
def alices_browser(site: Proxy) -> Visitor:
    return Visitor(site.port)


@pytest.fixture
def alice(site: Proxy, alices_browser: Visitor) -> Visitor:
    """Signed in with a password of late, as it may have to be."""
    if not is_signed_in(alices_browser) or alices_browser.get("/-/tokens/add").status != 200:
        alices_browser.cookies.clear()
        alices_browser.sign_in("alice")
    return alices_browser


@pytest.fixture
def boss(site: Proxy) -> Visitor:
    return Visitor(site.port).sign_in("boss")


def filled_in(address: str, token: str, session: str, account: str = "alice", record: int = 1) -> str:
    """Return a page's address with its parts."""
    thing = session if "/sessions/" in address else token
    path = address.replace("{id}", thing).replace("{name}", account)
    return path.replace("{record}", str(record))


def all_of(proxy: Proxy) -> dict[str, list[tuple[object, ...]]]:
    """Return what is in the database, but for when a session was seen."""
    tables = [name for (name,) in rows(proxy, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    content = {name: rows(proxy, f"SELECT * FROM {name}") for name in tables}
    content["sessions"] = rows(proxy, "SELECT id, authenticated_at FROM sessions")
    return content


def is_signed_in(visitor: Visitor) -> bool:
    return visitor.get("/-/account").status == 200


# --- forms that no page of ours sent


def origin(proxy: Proxy, change: str = "") -> str:
    return f"http://localhost:{proxy.port}{change}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin, cross-site"},
        {"Sec-Fetch-Site": ""},
        {"Sec-Fetch-Site": "cross-site", "Origin": "ours"},
        {"Origin": f"http://{EVIL}"},
        {"Origin": f"http://localhost.{EVIL}"},
        {"Origin": "other port"},
        {"Origin": "other scheme"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Referer": "ours"},
        {},
    ],
    ids=str,
)
def test_a_form_with_the_right_token_from_elsewhere_is_refused(
    site: Proxy, alice: Visitor, headers: dict[str, str]
) -> None:
    spelled = {
        "ours": origin(site),
        "other port": origin(site, "1"),
        "other scheme": origin(site).replace("http", "https"),
    }
    sent = {name: spelled.get(value, value) for name, value in headers.items()}
    csrf = alice.get("/-/tokens/add").csrf
    before = all_of(site)
    page = alice.post("/-/tokens/add", {"csrf": csrf, **FORM}, sent)
    assert page.status == 403
    assert "Nothing was changed" in page.words
    assert all_of(site) == before


def test_a_form_of_ours_is_taken_by_either_proof(site: Proxy, alice: Visitor) -> None:
    csrf = alice.get("/-/tokens/add").csrf
    for number, proof in enumerate((SAME_ORIGIN, {"Origin": origin(site)})):
        form = {"csrf": csrf, "form_key": f"proof {number}", **FORM}
        assert alice.post("/-/tokens/add", form, proof).status == 200


def test_a_token_of_another_session_is_none(site: Proxy, alice: Visitor) -> None:
    stranger = Visitor(site.port)
    anonymous = stranger.get("/-/sign-in").csrf
    before_sign_in = Visitor(site.port)
    own_before = before_sign_in.get("/-/sign-in").csrf
    before_sign_in.sign_in("alice")
    others = [
        "",
        "x",
        "0" * 64,
        anonymous,
        Visitor(site.port).sign_in("alice").get("/-/tokens").csrf,
        Visitor(site.port).sign_in("bob").get("/-/tokens").csrf,
        alice.get("/-/tokens").csrf.upper(),
    ]
    count = rows(site, "SELECT count(*) FROM tokens")
    for csrf in others:
        assert alice.post("/-/tokens/add", {"csrf": csrf, **FORM}).status == 403
    assert before_sign_in.post("/-/tokens/add", {"csrf": own_before, **FORM}).status == 403
    right = alice.get("/-/tokens").csrf
    assert alice.post(f"/-/tokens/add?csrf={right}", FORM).status == 403
    twice = [("csrf", "x"), ("csrf", right), *FORM.items()]
    assert alice.post("/-/tokens/add", twice).status == 403
    assert rows(site, "SELECT count(*) FROM tokens") == count


def test_every_form_needs_the_token(site: Proxy, boss: Visitor) -> None:
    secret, token = site.make_token(account="boss")
    [(session,)] = rows(site, "SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1")
    form = {
        "new": PASSWORD[::-1],
        "again": PASSWORD[::-1],
        "current": PASSWORD,
        "secret": secret,
        **FORM,
    }
    before = all_of(site)
    for address in addresses_of_pages("POST"):
        path = filled_in(address, token.id, session)
        assert boss.post(path, form).status == 403, path
        assert boss.post(path, form, {}).status == 403, path
    assert all_of(site) == before


def test_looking_changes_nothing(site: Proxy, boss: Visitor) -> None:
    _, token = site.make_token(account="boss")
    [(session,)] = rows(site, "SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1")
    [(record,)] = rows(site, "SELECT max(id) FROM audit WHERE account = 'boss'")
    before = all_of(site)
    for address in addresses_of_pages("GET"):
        path = filled_in(address, token.id, session, record=record)
        for method in ("GET", "HEAD"):
            page = boss.send(method, f"{path}?reason=x&name=x&secret=x&csrf={'0' * 64}&key=x")
            assert page.status in {200, 303}, path
            assert page.body == b"" or method == "GET"
    assert all_of(site) == before


def test_nobody_is_signed_in_from_another_site(site: Proxy) -> None:
    """Login CSRF: the attacker's own account, token and cookie, in the victim's browser."""
    attacker = Visitor(site.port)
    csrf = attacker.get("/-/sign-in").csrf
    victim = Visitor(site.port, cookies=dict(attacker.cookies))
    form = {"csrf": csrf, "name": "bob", "password": PASSWORD}
    for headers in ({"Origin": f"https://{EVIL}"}, {"Sec-Fetch-Site": "cross-site"}, {}):
        page = victim.post("/-/sign-in", form, headers)
        assert page.status == 403
        assert not page.set_cookies
    assert Visitor(site.port).post("/-/sign-in", form).status == 403


def test_a_link_can_not_aim_a_dialog_at_something_else(site: Proxy, alice: Visitor) -> None:
    """`End this session?` with a button that revokes all tokens, from a link that somebody sent."""
    for traversal in (
        "..%2f..%2ftokens%2frevoke-all%3f",
        "..%2f..%2ftokens%2frevoke-all%23",
        "..%2F..%2F..%2F..%2F%2fevil.example%2f",
        "%2e%2e",
        "x%3fy",
        '"><script>alert(1)<%2fscript>',
        "nosuch-session",
    ):
        page = alice.get(f"/-/account/sessions/{quote(traversal, safe='%')}/end")
        assert page.status == 404
        assert "revoke-all" not in page.text
    for path in ("/-/tokens/..%2frevoke-all%3f/revoke", "/-/tokens/..%2f..%2fsign-out%3f/edit"):
        assert alice.get(path).status == 404


# --- sessions


def test_a_planted_session_is_not_the_one_afterwards(site: Proxy) -> None:
    mallory = Visitor(site.port).sign_in("bob")
    for planted in ("planted", mallory.session):
        victim = Visitor(site.port, cookies={"gitpat-session": planted, "gitpat-form": "planted"})
        victim.sign_in("alice")
        assert victim.session not in {"", planted, mallory.session}
        assert "alice" in victim.get("/-/account").words
    assert "bob" in mallory.get("/-/account").words
    assert not is_signed_in(Visitor(site.port, cookies={"gitpat-session": "planted"}))


def test_every_sign_in_has_a_session_of_its_own(site: Proxy) -> None:
    sessions = {Visitor(site.port).sign_in("alice").session for _ in range(3)}
    again = Visitor(site.port).sign_in("alice")
    sessions |= {again.session}
    csrf = again.get("/-/tokens").csrf
    page = again.post("/-/sign-in", {"csrf": csrf, "name": "alice", "password": PASSWORD})
    assert page.status == 303
    assert len(sessions | {again.session}) == 5
    assert all(len(secret) >= 43 for secret in sessions)


def test_a_session_ends_for_whoever_has_copied_it(site: Proxy, alice: Visitor) -> None:
    thief = Visitor(site.port, cookies=dict(alice.cookies))
    assert is_signed_in(thief)
    page = alice.submit("/-/sign-out", page="/-/tokens")
    assert page.status == 303
    assert any(c.startswith("gitpat-session=") and "Max-Age=0" in c for c in page.set_cookies)
    assert not is_signed_in(thief)
    assert thief.post("/-/tokens/add", {"csrf": "x", **FORM}).status == 403


def test_a_new_password_ends_the_other_sessions(site: Proxy) -> None:
    person(site, "carol")
    carol, thief = Visitor(site.port).sign_in("carol"), Visitor(site.port).sign_in("carol")
    new = "another unusual passphrase 8"
    SEEN.secrets.add(new)
    form = {"current": PASSWORD, "new": new, "again": new}
    assert carol.submit("/-/account/password", form, page="/-/account").status == 303
    assert is_signed_in(carol)
    assert not is_signed_in(thief)
    assert carol.submit("/-/account/password", form, page="/-/account").status == 422
    Visitor(site.port).sign_in("carol", new)


def test_one_session_ends_and_nobody_ends_those_of_others(site: Proxy, alice: Visitor) -> None:
    lost = Visitor(site.port).sign_in("alice")
    [(session,)] = rows(site, "SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1")
    path = f"/-/account/sessions/{session}/end"
    bob = Visitor(site.port).sign_in("bob")
    for answer in (bob.get(path), bob.submit(path, page="/-/account")):
        assert answer.status == 404
    assert is_signed_in(lost)
    assert alice.submit(path).status == 303
    assert not is_signed_in(lost)
    assert is_signed_in(alice)


@pytest.mark.parametrize(
    ("column", "hours", "alive"),
    [
        ("last_seen_at", 11.9, True),
        ("last_seen_at", 12, False),
        ("created_at", 7 * 24 - 0.1, True),
        ("created_at", 7 * 24, False),
    ],
)
def test_sessions_expire(site: Proxy, alice: Visitor, column: str, hours: float, *, alive: bool) -> None:
    back = int(hours * 3_600_000_000)
    rows(site, f"UPDATE sessions SET {column} = {column} - ?", back)
    assert is_signed_in(alice) == alive
    assert is_signed_in(alice) == alive
    rows(site, "DELETE FROM sessions")


def test_disabling_ends_sessions_for_good(site: Proxy, boss: Visitor) -> None:
    person(site, "dave")
    thief = Visitor(site.port).sign_in("dave")
    account = "/-/administration/accounts/dave"
    assert boss.submit(f"{account}/disable").status == 303
    assert not is_signed_in(thief)
    page = Visitor(site.port).submit("/-/sign-in", {"name": "dave", "password": PASSWORD})
    assert page.status == 403
    assert "disabled" in page.words
    assert boss.submit(f"{account}/enable", page=account).status == 303
    assert not is_signed_in(thief)
    assert is_signed_in(Visitor(site.port).sign_in("dave"))


def test_somebody_who_signs_in_all_the_time_does_not_fill_the_database(site: Proxy) -> None:
    person(site, "erin")
    rows(
        site,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
        " INSERT INTO sessions (id, account_id, digest, created_at, last_seen_at, authenticated_at,"
        " address, browser, by_header) SELECT 'made-' || i, accounts.id, 'made' || i, i, i, i,"
        " '192.0.2.1', '', 0 FROM n, accounts WHERE accounts.name = 'erin'",
    )
    rows(
        site,
        "UPDATE sessions SET created_at = created_at + (SELECT max(created_at) FROM sessions) - 1000"
        " WHERE id LIKE 'made-%'",
    )
    erin = Visitor(site.port).sign_in("erin")
    assert is_signed_in(erin)
    [(count,)] = rows(
        site,
        "SELECT count(*) FROM sessions JOIN accounts ON accounts.id = account_id WHERE name = 'erin'",
    )
    assert count <= 100


STALE = "UPDATE sessions SET authenticated_at = authenticated_at - 30 * 60 * 1000000"


def test_what_matters_asks_for_the_password_again(site: Proxy, boss: Visitor) -> None:
    _, token = site.make_token("code:read", account="boss")
    one = f"/-/tokens/{token.id}"
    csrf = boss.get("/-/tokens").csrf
    rows(site, STALE)
    before = all_of(site)
    pages = [a for a in addresses_of_pages("GET") if a.startswith("/-/administration")]
    pages += ["/-/tokens/add", f"{one}/edit", f"{one}/regenerate"]
    for address in pages:
        page = boss.get(filled_in(address, token.id, ""))
        assert (page.status, path_of(page.location)) == (303, "/-/confirm")
    forms = [a for a in addresses_of_pages("POST") if a.startswith("/-/administration")]
    forms += ["/-/tokens/add", f"{one}/edit", f"{one}/regenerate"]
    ways_back: list[str] = []
    for address in forms:
        form = {"csrf": csrf, "new": PASSWORD, "again": PASSWORD, "password": PASSWORD, **FORM}
        page = boss.post(filled_in(address, token.id, ""), form)
        assert (page.status, path_of(page.location)) == (303, "/-/confirm")
        assert quote(PASSWORD) not in unquote(page.location)
        assert "passphrase" not in page.location
        ways_back += parse_qs(urlsplit(page.location).query)["next"]
    assert all_of(site) == before
    assert boss.submit("/-/confirm", {"password": "not the password"}).status == 403
    assert boss.get("/-/tokens/add").status == 303
    assert boss.submit("/-/confirm", {"password": PASSWORD}).status == 303
    assert boss.get("/-/tokens/add").status == 200
    # A form without a page of its own is gone back from to the page above.
    missing = [address for address in ways_back if boss.get(address).status != 200]
    assert missing == []


def test_the_way_back_from_the_password_is_no_longer_than_a_browser_can_go(
    site: Proxy, alice: Visitor
) -> None:
    csrf = alice.get("/-/tokens/add").csrf
    rows(site, STALE)
    page = alice.post("/-/tokens/add", {**FORM, "csrf": csrf, "name": "é" * 9000})
    assert page.status == 303
    assert alice.get(page.location).status == 200


# --- what every answer carries

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "gitpat-proxy",
}


def check_headers(page: Page) -> None:
    for name, value in HEADERS.items():
        assert page.header(name) == value, f"{page.status}: {name}"
    assert not page.header("Access-Control-Allow-Origin")


def test_no_page_can_be_framed_or_kept(site: Proxy, alice: Visitor, boss: Visitor) -> None:
    _, token = site.make_token()
    stranger = Visitor(site.port)
    for address in addresses_of_pages("GET"):
        for visitor in (stranger, alice, boss):
            page = visitor.get(filled_in(address, token.id, "no-session"))
            check_headers(page)
            assert page.status in {200, 303, 404}
    for address in addresses_of_pages("POST"):
        for visitor in (stranger, alice):
            check_headers(visitor.post(filled_in(address, token.id, "x"), {"csrf": "x"}))
    made = alice.submit("/-/tokens/add", FORM)
    assert made.status == 200
    check_headers(made)
    check_headers(alice.submit("/-/tokens/add", {"name": ""}))
    check_headers(alice.send("POST", "/-/tokens/add", b"\xff", {"Content-Type": "text/plain"}))


def test_only_what_is_no_secret_is_kept_by_browsers(site: Proxy, alice: Visitor) -> None:
    page = alice.get("/-/tokens").text
    for address in re.findall(r'(?:href|src)="(/-/static/[^"]+)"', page):
        answer = Visitor(site.port).get(address)
        assert answer.status == 200
        assert "immutable" in (answer.header("Cache-Control") or "")
        assert answer.header("X-Content-Type-Options") == "nosniff"
    for name in ("..%2fvisitor.py", "%2e%2e%2ftemplates%2fbase.html", "/etc/passwd", "", "%00"):
        assert Visitor(site.port).get(f"/-/static/{name}").status == 404


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"])
def test_other_methods_do_nothing(site: Proxy, alice: Visitor, method: str) -> None:
    _, token = site.make_token()
    before = all_of(site)
    for path in ("/-/tokens", f"/-/tokens/{token.id}", "/-/sign-out", "/-/sign-in"):
        cookie = "; ".join(f"{n}={v}" for n, v in alice.cookies.items())
        request = request_bytes(method, path, f"Cookie: {cookie}", "Sec-Fetch-Site: same-origin")
        answer = exchange(site.port, request)
        assert status_of(answer) in {400, 404, 405}
        assert alice.session.encode() not in answer
        assert b"Access-Control" not in answer
    assert all_of(site) == before


# --- where people are sent

NASTY = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example",
    "https:evil.example",
    "HTTPS://evil.example/-/tokens",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example",
    ".evil.example",
    "@evil.example",
    "/-@evil.example",
    "/-",
    "/",
    "/team/app",
    "/-/../../team/app",
    "/-/../..//evil.example",
    "/-/..//evil.example",
    "/-/%2e%2e/%2e%2e/team",
    "/-/.%2e/x",
    "/-/./../x",
    "/-//evil.example",
    "/-/%2f%2fevil.example",
    "/-/%5c%5cevil.example",
    "/-/\\evil.example",
    "/-/tokens\r\nSet-Cookie: a=b",
    "/-/tokens%0d%0aSet-Cookie: a=b",
    "/-/tokens\nLocation: https://evil.example",
    "/-/\ttokens",
    "\t//evil.example",
    " //evil.example",
    "/\t/evil.example",
    "/-/tokens#@evil.example",
    "/-/tokens\x00",
    "/-/tökens",
    "/-/<script>",
    "/-/..",
    "/-/tokens/..?next=//evil.example",
]


def check_stays(page: Page) -> None:
    """The answer leads to a page of ours, however a browser reads it."""
    assert page.status == 303
    assert "Set-Cookie: a=b" not in str(page.headers)
    assert page.location.startswith("/-/")
    assert not set(page.location) & set("\\\r\n\t\0 ")
    resolved = urlsplit(urljoin("http://ours.example/-/sign-in", unquote(page.location)))
    assert resolved.netloc == "ours.example"
    assert resolved.path.startswith("/-/")
    assert "/../" not in f"{resolved.path}/"


def test_nobody_is_sent_elsewhere_after_signing_in(site: Proxy, alice: Visitor) -> None:
    for number, address in enumerate(NASTY):
        check_stays(alice.get(f"/-/sign-in?next={quote(address)}"))
        stranger = Visitor(site.port)
        form = stranger.get(f"/-/sign-in?next={quote(address)}")
        assert form.hidden("next") == "/-/tokens"
        fields = {"csrf": form.csrf, "name": "alice", "password": PASSWORD, "next": address}
        if number % 4 == 0:
            check_stays(stranger.post("/-/sign-in", fields))
    for address in NASTY[2::4]:
        check_stays(alice.submit("/-/confirm", {"password": PASSWORD, "next": address}))
    for after in ("/-/tokens", "/-/tokens/add?name=a+b&scope=code%3Aread", "/-/activity?kind=push"):
        assert alice.get(f"/-/sign-in?next={quote(after, safe='')}").location == after


def test_odd_addresses_lead_to_no_odd_redirects(site: Proxy) -> None:
    stranger = Visitor(site.port)
    for path in (
        "/-/tokens/%0d%0aSet-Cookie:%20a=b",
        "/-/tokens/x?name=%0d%0aSet-Cookie:%20a=b",
        "/-/tokens/..%2f..%2fx/edit",
        "/-/tokens/%5c%5cevil.example",
    ):
        page = stranger.get(path)
        check_stays(page)
        [after] = re.findall(r"next=(.*)", page.location)
        assert stranger.get(page.location).hidden("next").startswith("/-/t")
        assert "\r" not in after


def test_a_page_has_one_address(site: Proxy, boss: Visitor) -> None:
    """What a proxy in front lets nobody see must not be there under a name that it does not know."""
    assert boss.get("/-/administration/accounts/al%69ce").status == 200
    for path in ("/%2d/administration/accounts", "/-/%61dministration/accounts"):
        assert boss.get(path).status == 404, path
        assert Visitor(site.port).get(path).status == 404, path
    enable = "/-/administration/accounts/alice/"
    fields = {"csrf": boss.get("/-/administration/accounts").csrf}
    assert boss.post(f"{enable}%65nable", fields).status == 404
    assert boss.post(f"{enable}enable", fields).status == 303


def test_a_false_host_is_in_no_link(site: Proxy) -> None:
    lies = {
        "Host": EVIL,
        "X-Forwarded-Host": EVIL,
        "X-Forwarded-Server": EVIL,
        "X-Original-URL": f"//{EVIL}/",
        "X-Rewrite-URL": f"//{EVIL}/",
        "X-Forwarded-Prefix": f"//{EVIL}",
        "Forwarded": f"host={EVIL};proto=https",
    }
    poisoned = Visitor(site.port, headers=lies)
    poisoned.sign_in("alice")
    secret, token = site.make_token("work_items:read")
    for path in ("/-/", "/-/tokens", "/-/tokens/add", f"/-/tokens/{token.id}", "/-/found", "/", "/-/x"):
        page = poisoned.get(path)
        assert EVIL not in page.text
        assert EVIL not in page.location
    made = poisoned.submit("/-/tokens/add", FORM)
    assert EVIL not in made.text
    assert site.url.partition("://")[2] in made.text
    for password in ("gpat_x", secret):
        refused = poisoned.get(
            "/team/app/info/refs?service=git-upload-pack",
            {"Authorization": f"Bearer {password}"},
        )
        assert refused.status == 401
        assert EVIL not in refused.text
        assert f"{site.url}/-/tokens" in refused.text
