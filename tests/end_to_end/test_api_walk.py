"""Every operation that the API's document has, so that a new one can't be forgotten."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gitpat_proxy.cli.context import Services
from tests.support.proxy import Proxy
from tests.web.api_client import Answer, Client, client_of, make_account

NEVER_MADE = "babab-babab"
FOR_EVERYBODY = {"revokeSecret", "getDocument"}
"""What needs no token. Whoever adds an operation to these says here that a stranger may do it."""
FOR_EVERY_TOKEN = {"getSelf", "revokeSelf"}
SECONDS = 40

SCHEMATHESIS = f"""
hooks = "tests.web.schemathesis_hooks"
max-time = {SECONDS}
continue-on-failure = true

[checks]
# What fits the schema may still be a name that is no scope, a date that has passed, a token that has
# ended or asks for itself, a tag that is none: those are told by these.
positive_data_acceptance.expected-statuses = ["2xx", "304", "403", "404", "409", "412", "422", "429"]
# A revoked token stays there to be looked at: that is what DELETE is for here.
use_after_free.enabled = false

# A cursor or a time that is none is a parameter that can't be used.
[[operations]]
include-operation-id = ["listTokens", "listActivity"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]

# So is what names no repository, ref or address.
[[operations]]
include-operation-id = "explainToken"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "404"]
"""


@dataclass(frozen=True)
class Asked:
    """One operation, with parameters and a body that fit their schemas."""

    name: str
    method: str
    path: str
    query: str
    is_open: bool
    scope: str | None
    form: dict[str, str] | None
    body: object

    def by(self, client: Client, token_id: str = NEVER_MADE) -> Answer:
        path = self.path.replace("{id}", token_id) + self.query
        return client.ask(self.method, path, self.body, form=self.form)


def _operations(document: Any) -> Iterator[Asked]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            ways = operation["security"]
            scopes = [scope for way in ways for scope in way.get("bearer", ())]
            content = operation.get("requestBody", {}).get("content", {})
            body = {kind: _example(document, media["schema"]) for kind, media in content.items()}
            yield Asked(
                operation["operationId"],
                method.upper(),
                path,
                _query(operation["parameters"]),
                not ways,
                scopes[0] if scopes else None,
                body.get("application/x-www-form-urlencoded"),
                body.get("application/json"),
            )


def _query(parameters: list[Any]) -> str:
    """Return the parameters that must be there."""
    needed = [p for p in parameters if p["in"] == "query" and p["required"]]
    return f"?{urlencode({p['name']: p['schema']['examples'][0] for p in needed})}" if needed else ""


def _example(document: Any, reference: dict[str, str]) -> dict[str, Any]:
    """Return the smallest object that fits the schema."""
    schema = document["components"]["schemas"][reference["$ref"].rpartition("/")[2]]
    required = schema.get("required", [])
    return {name: schema["properties"][name].get("examples", ["x"])[0] for name in required}


@pytest.fixture(scope="module")
def operations(shared_proxy: Proxy) -> list[Asked]:
    return list(_operations(Client(shared_proxy).get("/openapi.json").json))


@pytest.fixture(scope="module")
def victim(shared_proxy: Proxy) -> Any:
    """Somebody's token, which nobody else shall learn of."""
    return client_of(shared_proxy, "victim").make(name="Victims own", scopes=["code:write"])


def test_all_operations_are_walked(operations: list[Asked]) -> None:
    assert len(operations) == 14
    assert {o.name for o in operations if o.is_open} == FOR_EVERYBODY
    assert {o.name for o in operations if not o.scope} == FOR_EVERYBODY | FOR_EVERY_TOKEN


def test_a_stranger_gets_nothing(
    shared_proxy: Proxy, operations: list[Asked], victim: dict[str, Any]
) -> None:
    for operation in operations:
        if not operation.is_open:
            answer = operation.by(Client(shared_proxy), victim["id"])
            assert (answer.status, answer.code) == (401, "credentials_missing"), operation
            assert _tells_nothing_of(victim, answer), operation


def test_an_expired_token_opens_nothing(
    shared_proxy: Proxy, operations: list[Asked], victim: dict[str, Any]
) -> None:
    secret, token = shared_proxy.make_token("tokens:write", account="late")
    _expire(shared_proxy, token.id)
    _all_refuse(Client(shared_proxy, secret), operations, victim, "token_expired")


def test_a_disabled_owners_token_opens_nothing(
    shared_proxy: Proxy, operations: list[Asked], victim: dict[str, Any]
) -> None:
    client = client_of(shared_proxy, "gone")
    shared_proxy.ok("account", "disable", "gone")
    _all_refuse(client, operations, victim, "account_disabled")


def _all_refuse(client: Client, operations: list[Asked], victim: dict[str, Any], code: str) -> None:
    for operation in operations:
        if not operation.is_open:
            answer = operation.by(client, victim["id"])
            assert (answer.status, answer.code) == (401, code), operation
            assert _tells_nothing_of(victim, answer), operation


def test_a_token_without_the_scope_gets_nothing(
    shared_proxy: Proxy, operations: list[Asked], victim: dict[str, Any]
) -> None:
    # Not the scope that is asked for, and each time all the others that a person's token may have.
    for operation in operations:
        others = {"code:write", "work_items:read", "tokens:read"} - {operation.scope}
        client = client_of(shared_proxy, "victim", *sorted(others))
        if operation.scope:
            answer = operation.by(client, victim["id"])
            assert (answer.status, answer.code) == (403, "scope_missing"), operation
            assert _tells_nothing_of(victim, answer), operation


def test_another_account_finds_no_trace(
    shared_proxy: Proxy, operations: list[Asked], victim: dict[str, Any]
) -> None:
    make_account(shared_proxy, "robot", service=True)
    for operation in operations:
        scopes = ["tokens:write", "tokens:delegate", "tokens:introspect", "code:write"]
        client = client_of(shared_proxy, "robot", *scopes)
        answer = operation.by(client, victim["id"])
        assert _tells_nothing_of(victim, answer), operation
        if "{id}" in operation.path:
            nowhere = operation.by(client, NEVER_MADE)
            assert (answer.status, answer.code) == (404, "not_found"), operation
            assert _without_id(answer, victim["id"]) == _without_id(nowhere, NEVER_MADE), operation
        else:
            assert answer.status in {200, 201}, operation
    token = client_of(shared_proxy, "victim", "tokens:read").get(f"/tokens/{victim['id']}").json
    assert token["status"] == "active"
    assert (token["name"], token["hint"]) == (victim["name"], victim["hint"])


def _without_id(answer: Answer, token_id: str) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json
    return problem | {"detail": problem["detail"].replace(token_id, "ID"), "request": ""}


def _tells_nothing_of(victim: dict[str, Any], answer: Answer) -> bool:
    """Whoever has the id may read it again; what it belongs to is in no answer."""
    text = answer.body.decode()
    return not any(victim[key] in text for key in ("name", "hint", "token"))


def _expire(proxy: Proxy, token_id: str) -> None:
    past = (datetime.now(UTC) - timedelta(days=1) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )

    async def action(services: Services) -> None:
        async with services.database.writing() as connection:
            await connection.exec_driver_sql(
                f"UPDATE tokens SET expires_at = {past} WHERE id = '{token_id}'"
            )

    proxy.services(action)


def test_schemathesis_finds_nothing(start_proxy: Any, tmp_path: Path) -> None:
    """All its phases and checks against a proxy of its own, with a token that may do everything."""
    # It makes addresses of any length, and no document says what is told of one that can't be read.
    proxy = start_proxy(limits={"request_line_bytes": "1MiB", "header_bytes": "1MiB"})
    make_account(proxy, "robot", administrator=True, service=True)
    scopes = ["tokens:write", "tokens:delegate", "tokens:introspect", "admin"]
    scopes += ["code:write", "work_items:read"]
    secret, token = proxy.make_token(*scopes, account="robot", expires="365d")
    (tmp_path / "secret").write_text(secret)
    (tmp_path / "schemathesis.toml").write_text(SCHEMATHESIS)
    result = subprocess.run(
        [
            str(Path(sys.executable).parent / "st"),
            "--no-color",
            *["--config-file", str(tmp_path / "schemathesis.toml")],
            *["run", f"{proxy.url}/-/api/v1/openapi.json"],
        ],
        cwd=tmp_path,
        env=os.environ
        | {
            "API_URL": proxy.url,
            "API_TOKEN_FILE": str(tmp_path / "secret"),
            "API_TOKEN_ID": token.id,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert Client(proxy, secret).get("/self").status == 200
    statuses = {(line["operation"], line["status"]) for line in proxy.log_lines() if "operation" in line}
    for operation in _operations(Client(proxy).get("/openapi.json").json):
        assert {(operation.name, 200), (operation.name, 201)} & statuses, operation.name
    assert proxy.log_lines("failed") == []
