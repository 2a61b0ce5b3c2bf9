"""What a program can do over the API, and what it can't."""

import http.client
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gitpat_proxy.access.model import AuditEvent, AuditFilter, Author, EventKind
from gitpat_proxy.cli.context import Services
from gitpat_proxy.services.audit import search
from gitpat_proxy.services.tokens import TokenFacts
from tests.support.git import Git
from tests.support.proxy import Proxy, wait_until
from tests.support.raw import basic
from tests.support.secrets_seen import SEEN
from tests.web.api_client import Client, client_of, make_account

NEVER_MADE = "babab-babab"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An account's name that no other test has."""
    return "".join(c for c in request.node.name if c.isalnum())[-60:]


@pytest.fixture
def client(shared_proxy: Proxy, name: str) -> Client:
    """A program of an account of its own, that may make tokens and push."""
    return client_of(shared_proxy, name)


# --- the life of a token --------------------------------------------------------------------------


def test_a_token_is_made_works_is_edited_rotated_and_revoked(client: Client, name: str) -> None:
    proxy = client.proxy
    made = client.ask("POST", "/tokens", {"name": "CI", "scopes": ["code:read"], "expires": "7d"})
    token = made.json
    place = f"/tokens/{token['id']}"
    assert made.status == 201
    assert made.headers["Location"] == f"/-/api/v1{place}"
    assert (token["account"], token["status"], token["scopes"]) == (name, "active", ["code:read"])
    Git(proxy.home(name), token["token"])("clone", f"{proxy.url}/team/app", "work")

    shown = client.get(place)
    assert shown.json == {k: v for k, v in token.items() if k != "token"} | {
        key: shown.json[key] for key in ("last_used_at", "last_used_from")
    }
    assert shown.headers["ETag"] == made.headers["ETag"]

    edited = client.ask("PATCH", place, {"name": "CI 2", "addresses": ["192.0.2.0/24"]})
    assert (edited.status, edited.json["name"]) == (200, "CI 2")
    assert edited.json["addresses"] == ["192.0.2.0/24"]
    assert edited.json["expires_at"] == token["expires_at"]
    assert edited.headers["ETag"] != made.headers["ETag"]
    assert client.ask("PATCH", place, {"addresses": ["any"]}).json["addresses"] is None

    rotated = client.ask("POST", f"{place}/rotate")
    assert rotated.status == 200
    assert rotated.json["token"] != token["token"]
    assert Client(proxy, token["token"]).get("/self").code == "token_unknown"
    assert Client(proxy, rotated.json["token"]).get("/self").json["id"] == token["id"]

    revoked = client.ask("DELETE", f"{place}?reason=done+with+it")
    assert (revoked.status, revoked.json["status"]) == (200, "revoked")
    assert revoked.json["revoked_reason"] == "done with it"
    assert revoked.json["revoked_by"].startswith(f"{name} (token ")
    assert client.ask("DELETE", f"{place}?reason=again").json["revoked_reason"] == "done with it"
    assert Client(proxy, rotated.json["token"]).get("/self").code == "token_revoked"
    assert client.ask("PATCH", place, {"name": "Back"}).code == "conflict"
    assert client.ask("POST", f"{place}/rotate").code == "conflict"


def test_a_token_tells_what_it_may_and_ends_itself(shared_proxy: Proxy, name: str) -> None:
    client = client_of(shared_proxy, name, "code:write", expires="90d")
    told = client.get("/self").json
    assert told["scopes"] == ["code:write"]
    assert told["grants"] == ["code:read", "code:write"]
    ended = client.ask("DELETE", "/self?reason=finished")
    assert (ended.json["status"], ended.json["revoked_reason"]) == ("revoked", "finished")
    assert client.get("/self").code == "token_revoked"


def test_what_is_left_out_is_the_default_and_null_is_left_out(client: Client) -> None:
    token = client.make(expires=None, not_before=None, addresses=None)
    assert token["expires_at"]
    assert token["not_before"] is None
    edited = client.ask("PATCH", f"/tokens/{token['id']}", {"expires": None, "name": None})
    assert (edited.json["expires_at"], edited.json["name"]) == (token["expires_at"], token["name"])


# --- who asks -------------------------------------------------------------------------------------


def test_the_secret_may_come_as_the_password(client: Client) -> None:
    asked = Client(client.proxy).ask("GET", "/self", headers={"Authorization": basic(client.secret)})
    assert asked.status == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "credentials_missing"),
        ({"Authorization": "Bearer"}, "credentials_malformed"),
        ({"Authorization": "Digest x"}, "credentials_malformed"),
        ({"Authorization": "Bearer gpat_x"}, "token_unknown"),
        ({"X-CSRF-Token": "x"}, "credentials_missing"),
        ({"Cookie": "gitpat-session=x"}, "credentials_missing"),
        ({"Cookie": "gitpat-session=x", "X-CSRF-Token": "x"}, "credentials_missing"),
    ],
)
def test_who_is_not_known_is_told_how(shared_proxy: Proxy, headers: dict[str, str], code: str) -> None:
    answer = Client(shared_proxy).ask("GET", "/tokens", headers=headers)
    assert (answer.status, answer.code) == (401, code)


def test_two_authorization_headers_are_none(client: Client) -> None:
    answer = Client(client.proxy).ask(
        "GET", "/self", headers={"Authorization": basic(client.secret), "authorization": "Bearer x"}
    )
    assert answer.code == "credentials_malformed"


def test_a_token_that_opens_nothing_opens_no_api_and_the_audit_knows(
    shared_proxy: Proxy, name: str
) -> None:
    proxy = shared_proxy
    cases = {
        "token_not_yet_valid": client_of(proxy, name, not_before="1d"),
        "address_denied": client_of(proxy, name, addresses=["192.0.2.0/24"]),
        "token_revoked": client_of(proxy, name),
        "account_disabled": client_of(proxy, f"{name}2"),
    }
    assert cases["token_revoked"].ask("DELETE", "/self").status == 200
    proxy.ok("account", "disable", f"{name}2")
    for code, client in cases.items():
        answer = client.get("/self")
        assert (answer.status, answer.code) == (401, code)
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        assert "X-Token-Expires" not in answer.headers
    wait_until(lambda: len(_refusals(proxy, name)) == 3, what="the audit")
    assert {e.details["code"] for e in _refusals(proxy, name)} == set(cases) - {"account_disabled"}
    assert {e.details["service"] for e in _refusals(proxy, name)} == {"api"}


def _refusals(proxy: Proxy, account: str) -> list[AuditEvent]:
    wanted = AuditFilter(account=account, kind=EventKind.REFUSED)
    rows = proxy.services(lambda services: search(services.database, wanted))
    return [event for _, event in rows]


def test_guessing_is_limited_by_address(start_proxy: Any) -> None:
    proxy = start_proxy(limits={"unknown_tokens": 3})
    answers = [Client(proxy, f"gpat_{number}").get("/self") for number in range(5)]
    assert [a.status for a in answers] == [401, 401, 401, 429, 429]
    assert answers[-1].code == "throttled"
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert client_of(proxy, "alice").get("/self").status == 200


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/tokens", "tokens:read"),
        ("GET", "/activity", "tokens:read"),
        ("POST", "/tokens", "tokens:write"),
        ("PATCH", f"/tokens/{NEVER_MADE}", "tokens:write"),
        ("DELETE", f"/tokens/{NEVER_MADE}", "tokens:write"),
        ("POST", f"/tokens/{NEVER_MADE}/rotate", "tokens:write"),
        ("POST", "/introspect", "tokens:introspect"),
    ],
)
def test_the_scope_that_is_missing_is_named(
    shared_proxy: Proxy, name: str, method: str, path: str, scope: str
) -> None:
    scopes = ["code:write", "tokens:read"] if scope != "tokens:read" else ["code:write"]
    answer = client_of(shared_proxy, name, *scopes).ask(method, path)
    assert (answer.status, answer.code) == (403, "scope_missing")
    assert f"needs {scope}." in answer.json["detail"]
    assert f'scope="{scope}"' in answer.headers["WWW-Authenticate"]


def test_another_accounts_token_is_not_there(client: Client, name: str) -> None:
    other = client_of(client.proxy, f"{name}2").make()
    for method, path, body in (
        ("GET", f"/tokens/{other['id']}", None),
        ("PATCH", f"/tokens/{other['id']}", {"name": "x"}),
        ("DELETE", f"/tokens/{other['id']}", None),
        ("POST", f"/tokens/{other['id']}/rotate", None),
    ):
        there, nowhere = (
            client.ask(method, p, body) for p in (path, path.replace(other["id"], NEVER_MADE))
        )
        assert (there.status, there.code) == (404, "not_found")
        assert there.json["detail"].replace(other["id"], "") == nowhere.json["detail"].replace(
            NEVER_MADE, ""
        )
    assert client.get("/tokens", account=f"{name}2").code == "scope_missing"
    assert client.get("/tokens", all_accounts="true").code == "scope_missing"
    assert client.get("/activity", all_accounts="true").code == "scope_missing"
    assert client.get("/activity", token=other["id"]).json["items"] == []


def test_an_administrators_token_sees_and_revokes_but_makes_and_edits_nothing(
    shared_proxy: Proxy, name: str
) -> None:
    proxy = shared_proxy
    other = client_of(proxy, f"{name}2").make()
    place = f"/tokens/{other['id']}"
    make_account(proxy, name, administrator=True)
    admin = client_of(proxy, name, "admin", "tokens:write")
    assert admin.get(place).json["account"] == f"{name}2"
    assert [t["account"] for t in admin.get("/tokens", account=f"{name}2").json["items"]] == [
        f"{name}2",
        f"{name}2",
    ]
    everyone = admin.get("/tokens", all_accounts="true", limit=200).json["items"]
    assert {name, f"{name}2"} <= {t["account"] for t in everyone}
    assert {t["account"] for t in admin.get("/tokens").json["items"]} == {name}
    assert admin.get("/activity", account=f"{name}2").json["items"]
    assert admin.ask("PATCH", place, {"name": "Mine"}).code == "not_found"
    assert admin.ask("POST", f"{place}/rotate").code == "not_found"
    assert admin.ask("DELETE", f"{place}?reason=leaked").json["status"] == "revoked"

    only_admin = client_of(proxy, name, "admin")
    assert only_admin.get(place).status == 200
    assert only_admin.ask("POST", "/tokens", {"name": "x", "scopes": ["admin"]}).code == "scope_missing"


def test_the_admin_scope_counts_only_as_long_as_its_account_is_an_administrator(
    shared_proxy: Proxy, name: str
) -> None:
    make_account(shared_proxy, name, administrator=True)
    admin = client_of(shared_proxy, name, "admin", "tokens:read")
    assert admin.get("/tokens", all_accounts="true").status == 200
    _change_account(shared_proxy, name, "administrator = 0")
    assert admin.get("/tokens", all_accounts="true").code == "scope_missing"
    assert admin.get("/self").json["grants"] == ["tokens:read"]


def _change_account(proxy: Proxy, name: str, change: str) -> None:
    async def action(services: Services) -> None:
        async with services.database.writing() as connection:
            await connection.exec_driver_sql(
                f"UPDATE accounts SET {change} WHERE name = '{name}'",
            )

    proxy.services(action)


# --- never more than itself -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        {"scopes": ["work_items:read"]},
        {"scopes": ["code:read", "code:write"]},
        {"expires": "60d"},
        {"expires": "never"},
        {"addresses": ["0.0.0.0/0"]},
        {"addresses": ["any"]},
        {"addresses": None},
    ],
)
def test_what_a_token_makes_or_edits_never_does_more_than_itself(
    shared_proxy: Proxy, name: str, facts: dict[str, Any]
) -> None:
    secret, _ = shared_proxy.make_token(
        "tokens:write", "code:read", account=name, expires="30d", addresses=["127.0.0.0/8"]
    )
    client = Client(shared_proxy, secret)
    inside = {"name": "x", "scopes": ["code:read"], "expires": "20d", "addresses": ["127.0.0.1/32"]}
    token = client.ask("POST", "/tokens", inside)
    assert token.status == 201
    place = f"/tokens/{token.json['id']}"

    refused = client.ask("POST", "/tokens", inside | facts)
    assert refused.status == 422 if facts.get("expires") == "never" else refused.code == "forbidden"
    if facts != {"addresses": None}:
        refused = client.ask("PATCH", place, facts)
        assert refused.status == 422 if facts.get("expires") == "never" else refused.code == "forbidden"
    assert client.get(place).headers["ETag"] == token.headers["ETag"]


def test_a_token_can_neither_edit_nor_rotate_itself_nor_one_that_does_more(
    shared_proxy: Proxy, name: str
) -> None:
    secret, token = shared_proxy.make_token("tokens:write", account=name)
    _, wider = shared_proxy.make_token("tokens:write", "code:write", account=name)
    client = Client(shared_proxy, secret)
    for token_id in (token.id, wider.id):
        assert client.ask("PATCH", f"/tokens/{token_id}", {"name": "x"}).code == "forbidden"
        assert client.ask("POST", f"/tokens/{token_id}/rotate").code == "forbidden"
    assert client.ask("DELETE", f"/tokens/{wider.id}").json["status"] == "revoked"


# --- once -----------------------------------------------------------------------------------------

NEW = {"name": "Once", "scopes": ["code:read"]}


def test_a_repeated_request_makes_no_second_token_and_shows_no_secret(client: Client) -> None:
    key = {"Idempotency-Key": "a-key"}
    first = client.ask("POST", "/tokens", NEW, key)
    again = client.ask("POST", "/tokens", dict(reversed(NEW.items())), key)
    assert (first.status, again.status) == (201, 200)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json == {k: v for k, v in first.json.items() if k != "token"}
    other = client.ask("POST", "/tokens", NEW | {"name": "Twice"}, key)
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert client.ask("POST", f"/tokens/{first.json['id']}/rotate", None, key).status == 422

    rotations = [
        client.ask("POST", f"/tokens/{first.json['id']}/rotate", None, {"Idempotency-Key": "r"})
        for _ in range(2)
    ]
    assert [("token" in r.json, r.status) for r in rotations] == [(True, 200), (False, 200)]
    assert Client(client.proxy, rotations[0].json["token"]).get("/self").status == 200


def test_twenty_at_once_with_one_key_make_one_token(client: Client) -> None:
    def ask(_: int) -> Any:
        return client.ask("POST", "/tokens", NEW, {"Idempotency-Key": "all-at-once"})

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    assert sorted(a.status for a in answers) == [200] * 19 + [201]
    assert len({a.json["id"] for a in answers}) == 1
    assert sum("token" in a.json for a in answers) == 1
    assert [t["name"] for t in client.get("/tokens").json["items"]].count("Once") == 1


def test_a_key_is_its_accounts_own(client: Client, name: str) -> None:
    other = client_of(client.proxy, f"{name}2")
    made = [c.ask("POST", "/tokens", NEW, {"Idempotency-Key": "same"}) for c in (client, other)]
    assert [m.status for m in made] == [201, 201]


@pytest.mark.parametrize("key", ["", "a" * 256, "two words", "ü"])
def test_a_key_that_can_t_be_one_is_refused(client: Client, key: str) -> None:
    answer = client.ask("POST", "/tokens", NEW, {"Idempotency-Key": key})
    assert (answer.status, answer.code) == (400, "invalid")
    assert answer.json["errors"][0]["field"] == "Idempotency-Key"


# --- nobody's change is overwritten ---------------------------------------------------------------


def test_an_edit_is_made_only_to_the_token_as_it_was_seen(client: Client) -> None:
    token = client.make()
    place = f"/tokens/{token['id']}"
    seen = client.get(place).headers["ETag"]
    for tags in (seen, f'"other", {seen}', "*"):
        assert client.ask("PATCH", place, {"name": token["name"]}, {"If-Match": tags}).status == 200
    changed = client.ask("PATCH", place, {"name": "Changed"}, {"If-Match": seen})
    assert changed.headers["ETag"] != seen
    for tags in (seen, f"W/{changed.headers['ETag']}", '"', "x", ""):
        refused = client.ask("PATCH", place, {"name": "Lost"}, {"If-Match": tags})
        assert (refused.status, refused.code) == (412, "precondition_failed")
    assert client.get(place).json["name"] == "Changed"
    answer = client.ask("GET", place, headers={"If-None-Match": f"W/{changed.headers['ETag']}"})
    assert (answer.status, answer.body) == (304, b"")
    assert client.ask("GET", place, headers={"If-None-Match": seen}).status == 200


def test_of_ten_edits_at_once_of_what_all_have_seen_one_is_made(client: Client) -> None:
    place = f"/tokens/{client.make()['id']}"
    seen = client.get(place).headers["ETag"]

    def edit(number: int) -> int:
        return client.ask("PATCH", place, {"name": f"Mine {number}"}, {"If-Match": seen}).status

    with ThreadPoolExecutor(10) as pool:
        assert sorted(pool.map(edit, range(10))) == [200] + [412] * 9


# --- lists ----------------------------------------------------------------------------------------


def test_a_hundred_and_twenty_tokens_come_in_pages_each_once(client: Client, name: str) -> None:
    async def make(services: Services) -> None:
        for number in range(120):
            facts = TokenFacts(name=f"Number {number:03}", scopes=["code:read"])
            secret, token = await services.tokens.create(name, facts, by=Author("test"))
            SEEN.secrets.add(secret)
            if number % 3 == 0:
                await services.tokens.revoke([token.id], None, by=Author("test"))

    client.proxy.services(make)
    pages = _pages(client, "/tokens")
    assert [len(page) for page in pages] == [50, 50, 21]
    ids = [token["id"] for page in pages for token in page]
    assert len(set(ids)) == 121
    times = [token["created_at"] for page in pages for token in page]
    assert times == sorted(times, reverse=True)
    assert [len(p) for p in _pages(client, "/tokens", status="revoked", limit=20)] == [20, 20]
    assert [len(p) for p in _pages(client, "/tokens", status="active", limit=81)] == [81]
    [found] = client.get("/tokens", search="number 007").json["items"]
    assert found["name"] == "Number 007"


def _pages(client: Client, path: str, **parameters: object) -> list[list[Any]]:
    pages = []
    cursor: dict[str, object] = {}
    while True:
        answer = client.get(path, **parameters, **cursor).json
        pages.append(answer["items"])
        if answer["next"] is None:
            return pages
        cursor = {"cursor": answer["next"]}


@pytest.mark.parametrize("path", ["/tokens", "/activity"])
@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ("cursor=x", "cursor"),
        ("cursor=%FC", None),
        ("cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTkgeA", "cursor"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("all_accounts=yes", "all_accounts"),
        ("everything=1", "everything"),
        ("limit", None),
    ],
)
def test_a_parameter_that_can_t_be_used_is_named(
    client: Client, path: str, parameters: str, field: str | None
) -> None:
    answer = client.ask("GET", f"{path}?{parameters}")
    assert answer.status == 400
    assert answer.code == ("invalid" if field else "malformed")
    assert [e["field"] for e in answer.json.get("errors", [])] == ([field] if field else [])


def test_activity_tells_what_the_accounts_tokens_did(client: Client, name: str) -> None:
    proxy = client.proxy
    token = client.make("code:write")
    Git(proxy.home(name), token["token"])("clone", f"{proxy.url}/team/app", "work")
    events = _events_of(client, 2, token=token["id"])
    assert [event["event"] for event in events] == ["clone", "token_created"]
    assert (events[0]["repository"], events[0]["kind"]) == ("team/app", "read")
    assert client.get("/activity", kind="read").json["items"] == events[:1]
    assert client.get("/activity", repository="team/app.git").json["items"] == events[:1]
    assert client.get("/activity", repository="team/other").json["items"] == []
    assert client.get("/activity", address="192.0.2.1").json["items"] == []
    assert client.get("/activity", since="1h", token=token["id"]).json["items"] == events
    assert client.get("/activity", since="2999-01-01").json["items"] == []
    assert client.get("/activity", since="sometime").code == "invalid"
    pages = _pages(client, "/activity", limit=1)
    assert [page[0]["id"] for page in pages if page][:2] == [e["id"] for e in events]


def _events_of(client: Client, number: int, **parameters: object) -> list[Any]:
    wait_until(
        lambda: len(client.get("/activity", **parameters).json["items"]) >= number, what="the audit"
    )
    events: list[Any] = client.get("/activity", **parameters).json["items"]
    return events


# --- OAuth ----------------------------------------------------------------------------------------


@pytest.fixture
def service(shared_proxy: Proxy, name: str) -> Client:
    """A service that may introspect."""
    make_account(shared_proxy, f"{name}.service", service=True)
    return client_of(shared_proxy, f"{name}.service", "tokens:introspect")


def test_a_service_learns_what_a_secret_is_worth(service: Client, name: str) -> None:
    proxy = service.proxy
    secret, token = proxy.make_token("code:write", account=name, expires="90d")
    worth = service.ask("POST", "/introspect", form={"token": secret, "more": "ignored"}).json
    assert token.expires_at
    assert worth == {
        "active": True,
        "scope": "code:read code:write",
        "username": name,
        "sub": name,
        "token_type": "Bearer",
        "jti": token.id,
        "iat": int(token.created_at.timestamp()),
        "exp": int(token.expires_at.timestamp()),
    }
    client = client_of(proxy, name)
    wait_until(lambda: client.get(f"/tokens/{token.id}").json["last_used_at"], what="the use")


def test_what_is_not_alive_is_only_inactive(service: Client, name: str) -> None:
    proxy = service.proxy
    revoked, _ = proxy.make_token("code:read", account=name)
    Client(proxy, revoked).ask("DELETE", "/self")
    pending, _ = proxy.make_token("code:read", account=name, not_before="1d")
    disabled, _ = proxy.make_token("code:read", account=f"{name}2")
    proxy.ok("account", "disable", f"{name}2")
    for secret in (revoked, pending, disabled, "gpat_unknown", "x"):
        assert service.ask("POST", "/introspect", form={"token": secret}).json == {"active": False}


def test_a_token_limited_to_addresses_is_active_only_from_there(service: Client, name: str) -> None:
    secret, _ = service.proxy.make_token("code:read", account=name, addresses=["192.0.2.0/24"])
    for address, active in (("192.0.2.9", True), ("198.51.100.1", False), (None, False)):
        form = {"token": secret} | ({"client_address": address} if address else {})
        assert service.ask("POST", "/introspect", form=form).json["active"] is active
    broken = service.ask("POST", "/introspect", form={"token": secret, "client_address": "here"})
    assert (broken.status, broken.code) == (400, "invalid")
    assert broken.json["error"] == "invalid_request"


def test_only_a_service_may_introspect(service: Client) -> None:
    name = service.get("/self").json["account"]
    _change_account(service.proxy, name, "service = 0")
    assert service.ask("POST", "/introspect", form={"token": "x"}).code == "scope_missing"


def test_whoever_has_a_secret_may_end_it_and_the_answer_is_always_the_same(
    start_proxy: Any,
) -> None:
    proxy = start_proxy()
    secret, _ = proxy.make_token("code:read")
    stranger = Client(proxy)
    answers = [
        stranger.ask("POST", "/revoke", form={"token": text, "token_type_hint": "access_token"})
        for text in (secret, secret, "gpat_unknown", "x")
    ]
    assert {(a.status, a.body) for a in answers} == {(200, b"{}")}
    assert Client(proxy, secret).get("/self").code == "token_revoked"
    assert stranger.ask("POST", "/revoke", form={"tok": "x"}).json["error"] == "invalid_request"
    twice = b"token=a&token=b"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert stranger.ask("POST", "/revoke", twice, form).code == "invalid"
    answers = [stranger.ask("POST", "/revoke", form={"token": str(n)}) for n in range(12)]
    assert answers[-1].code == "throttled"
    assert int(answers[-1].headers["Retry-After"]) > 0


# --- bodies ---------------------------------------------------------------------------------------

DEEP = b'{"name": ' + b"[" * 60 + b"]" * 60 + b"}"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed"),
        (b"{", 400, "malformed"),
        (b"\xff\xfe", 400, "malformed"),
        (b'{"name": "\xe4"}', 400, "malformed"),
        (DEEP, 400, "malformed"),
        (b"[" * 30_000, 400, "malformed"),
        (b'{"name": NaN}', 400, "malformed"),
        (b'{"name": "a", "name": "b"}', 400, "malformed"),
        (b"1" * 10_000, 400, "malformed"),
        (b"[]", 422, "invalid"),
        (b'"text"', 422, "invalid"),
        (b"{}", 422, "invalid"),
        (b'{"name": 1, "scopes": ["code:read"]}', 422, "invalid"),
        (b'{"name": "a", "scopes": "code:read"}', 422, "invalid"),
        (b'{"name": "a", "scopes": []}', 422, "invalid"),
        (b'{"name": "a", "scopes": ["nonsense"]}', 422, "invalid"),
        (b'{"name": "a", "scopes": ["\\ud800"]}', 422, "invalid"),
        (b'{"name": "\\ud800", "scopes": ["code:read"]}', 422, "invalid"),
        (b'{"name": "a\\u202e", "scopes": ["code:read"]}', 422, "invalid"),
        (b'{"name": "a", "scopes": ["code:read"], "expires": "soon"}', 422, "invalid"),
        (b'{"name": "a", "scopes": ["code:read"], "expires": 90}', 422, "invalid"),
        (b'{"name": "a", "scopes": ["code:read"], "addresses": ["here"]}', 422, "invalid"),
        (b'{"name": "a", "scopes": ["code:read"], "account": "bob"}', 422, "invalid"),
        (b'{"name": "%s"}' % (b"a" * 70_000), 413, "too_large"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_body_that_can_t_be_used(client: Client, body: bytes, status: int, code: str) -> None:
    answer = client.ask("POST", "/tokens", body)
    assert (answer.status, answer.code) == (status, code)
    if code == "invalid":
        assert answer.json["errors"]


def test_a_body_without_a_length_is_counted_as_it_comes(client: Client) -> None:
    def chunks() -> Any:
        for _ in range(20):
            yield b" " * 8000

    connection = http.client.HTTPConnection("127.0.0.1", client.proxy.port, timeout=20)
    headers = {"Authorization": f"Bearer {client.secret}", "Content-Type": "application/json"}
    connection.request("POST", "/-/api/v1/tokens", chunks(), headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_a_body_of_another_kind_is_not_read(client: Client, headers: dict[str, str]) -> None:
    answer = client.ask("POST", "/tokens", NEW, headers)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


def test_a_body_where_none_is_read_is_refused(client: Client) -> None:
    assert client.ask("DELETE", "/self", {"reason": "x"}).code == "malformed"
    assert client.get("/self").status == 200
    assert client.ask("POST", "/introspect", {"token": "x"}).code == "scope_missing"


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("OPTIONS", "/tokens", "GET, HEAD, POST"),
        ("PUT", f"/tokens/{NEVER_MADE}", "DELETE, GET, HEAD, PATCH"),
        ("GET", "/introspect", "POST"),
        ("TRACE", "/self", "DELETE, GET, HEAD"),
    ],
)
def test_another_method_is_told_which_ones_there_are(
    client: Client, method: str, path: str, allow: str
) -> None:
    answer = client.ask(method, path, headers={"Origin": "https://evil.example"})
    assert (answer.status, answer.code, answer.headers["Allow"]) == (405, "method_not_allowed", allow)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/tokens/",
        "/tokens/x",
        "/tokens/../self",
        "/%74okens",
        "/tokens/%0A",
        "/-/api/v2/tokens",
    ],
)
def test_any_other_address_is_a_problem_too(client: Client, path: str) -> None:
    assert client.get(path).code == "not_found"


def test_head_is_get_without_the_body(client: Client) -> None:
    answer = client.ask("HEAD", "/self")
    assert (answer.status, answer.body) == (200, b"")
    assert client.ask("HEAD", "/nothing").status == 404


def test_a_database_that_is_gone_is_a_503_without_its_path(start_proxy: Any) -> None:
    proxy = start_proxy()
    client = client_of(proxy, "alice")
    database: Path = proxy.folder / "gitpat.db"
    database.rename(proxy.folder / "away.db")
    answer = client.get("/self")
    assert (answer.status, answer.code) == (503, "unavailable")
    assert str(proxy.folder) not in answer.body.decode()


# --- the end that is near -------------------------------------------------------------------------


def test_git_and_api_answers_say_that_the_end_is_near(shared_proxy: Proxy, name: str) -> None:
    proxy = shared_proxy
    near, token = proxy.make_token("code:read", account=name, expires="29d")
    far, _ = proxy.make_token("code:read", account=name, expires="31d")
    never_allowed = "/team/app/info/refs?service=git-receive-pack"
    assert token.expires_at
    ends = token.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    for path in ("/team/app/info/refs?service=git-upload-pack", "/-/api/v1/self"):
        assert _header(proxy, path, near) == ends
        assert _header(proxy, path, far) is None
    assert _header(proxy, never_allowed, near) is None


def _header(proxy: Proxy, path: str, secret: str) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
    connection.request("GET", path, headers={"Authorization": basic(secret)})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.getheader("X-Token-Expires")
