"""The API called by a page: a person's session, with its CSRF token."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gitpat_proxy.cli.context import Services
from gitpat_proxy.web.visitor import csrf_token_of
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN
from tests.support.visitor import SAME_ORIGIN, Page, Visitor, person
from tests.web.api_client import client_of

NEW = {"name": "By a page", "scopes": ["code:read"]}


@pytest.fixture
def visitor(proxy: Proxy) -> Visitor:
    """Alice, signed in."""
    person(proxy, "alice")
    return Visitor(proxy.port).sign_in("alice")


def ask(
    visitor: Visitor, method: str, path: str, body: object = None, **headers: str | None
) -> tuple[Page, Any]:
    """Ask as a script of a page of ours does; a header of None is left out."""
    csrf = csrf_token_of(visitor.session)
    sent: dict[str, str | None] = {"X-CSRF-Token": csrf, **SAME_ORIGIN}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    content = None if body is None else json.dumps(body).encode()
    if body is not None:
        sent["Content-Type"] = "application/json"
    page = visitor.send(method, f"/-/api/v1{path}", content, _given(sent))
    return page, json.loads(page.body)


def _given(headers: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if value is not None}


def test_a_page_may_do_what_the_person_may(visitor: Visitor) -> None:
    made, token = ask(visitor, "POST", "/tokens", NEW)
    assert made.status == 201
    SEEN.secrets.add(token["token"])
    assert ask(visitor, "GET", f"/tokens/{token['id']}", Sec_Fetch_Site=None)[0].status == 200
    assert ask(visitor, "PATCH", f"/tokens/{token['id']}", {"name": "New"})[1]["name"] == "New"
    assert ask(visitor, "DELETE", f"/tokens/{token['id']}")[1]["revoked_by"] == "alice"
    kinds = {event["kind"] for event in ask(visitor, "GET", "/activity")[1]["items"]}
    assert {"sign_in", "change"} <= kinds


def test_a_session_counts_only_with_its_token_and_from_a_page_of_ours(visitor: Visitor) -> None:
    for method, path, body in (("GET", "/tokens", None), ("POST", "/tokens", NEW)):
        assert ask(visitor, method, path, body, X_CSRF_Token=None)[1]["code"] == "credentials_missing"
        wrong = ask(visitor, method, path, body, X_CSRF_Token="0" * 64)
        assert (wrong[0].status, wrong[1]["code"]) == (403, "forbidden")
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": None}):
        assert ask(visitor, "POST", "/tokens", NEW, **headers)[1]["code"] == "forbidden"
    foreign = {"Sec_Fetch_Site": None, "Origin": "https://evil.example"}
    assert ask(visitor, "POST", "/tokens", NEW, **foreign)[1]["code"] == "forbidden"


def test_where_a_token_is_sent_the_cookie_counts_nothing(proxy: Proxy, visitor: Visitor) -> None:
    reader = client_of(proxy, "alice", "code:read")
    answer = ask(visitor, "POST", "/tokens", NEW, Authorization=f"Bearer {reader.secret}")
    assert answer[1]["code"] == "scope_missing"
    assert ask(visitor, "GET", "/tokens", Authorization="Basic x")[1]["code"] == "credentials_malformed"


def test_what_is_for_tokens_alone_is_not_for_a_session(visitor: Visitor) -> None:
    for method, path in (("GET", "/self"), ("DELETE", "/self"), ("POST", "/introspect")):
        assert ask(visitor, method, path)[1]["code"] == "credentials_missing"


def test_what_gives_more_asks_for_the_password_again_after_a_while(
    proxy: Proxy, visitor: Visitor
) -> None:
    token = client_of(proxy, "alice").make()
    _age_sessions(proxy)
    own = f"/tokens/{token['id']}"
    more = {"scopes": ["code:write"]}
    for method, path, body in (
        ("POST", "/tokens", NEW),
        ("POST", f"{own}/rotate", None),
        ("PATCH", own, more),
    ):
        answer = ask(visitor, method, path, body)
        assert (answer[0].status, answer[1]["code"]) == (403, "confirmation_required")
    assert ask(visitor, "GET", own)[1]["scopes"] == token["scopes"]
    assert ask(visitor, "DELETE", own)[0].status == 200


def test_administration_is_for_administrators_and_asks_again_too(proxy: Proxy, visitor: Visitor) -> None:
    person(proxy, "root", administrator=True)
    token = client_of(proxy, "alice").make()
    everybodys = "/tokens?all_accounts=true"
    assert ask(visitor, "GET", everybodys)[1]["code"] == "forbidden"
    root = Visitor(proxy.port).sign_in("root")
    assert len(ask(root, "GET", everybodys)[1]["items"]) == 2
    assert ask(root, "GET", f"/tokens/{token['id']}")[0].status == 200
    _age_sessions(proxy)
    assert ask(root, "GET", everybodys)[1]["code"] == "confirmation_required"
    assert ask(root, "DELETE", f"/tokens/{token['id']}")[1]["code"] == "not_found"


def _age_sessions(proxy: Proxy) -> None:
    """As if the passwords had been given an hour earlier."""

    async def action(services: Services) -> None:
        async with services.database.writing() as connection:
            await connection.exec_driver_sql(
                "UPDATE sessions SET authenticated_at = authenticated_at - 3600 * 1000000"
            )

    proxy.services(action)
