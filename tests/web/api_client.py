"""A program that calls the API; and the accounts and tokens that it calls it with."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from gitpat_proxy.access.model import Author
from gitpat_proxy.cli.context import Services
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN

ROOT = "/-/api/v1"
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The problem's code; checks that it is told as all of them are."""
        if self.headers.get("Content-Type") != PROBLEM:
            return None
        problem = self.json
        assert problem["status"] == self.status
        assert problem["request"] == self.headers["X-Request-Id"]
        assert problem["type"].endswith(f"/-/api/#{problem['code']}")
        assert problem["title"]
        assert problem["detail"].endswith((".", "…"))
        return str(problem["code"])


@dataclass(frozen=True)
class Client:
    """Calls with a token; without one if the secret is empty."""

    proxy: Proxy
    secret: str = ""

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask below /-/api/v1, or an address that begins with /-/; bytes are sent as they are."""
        sent = {"Authorization": f"Bearer {self.secret}"} if self.secret else {}
        content = body if isinstance(body, bytes) else None
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            content = urlencode(form).encode()
        elif body is not None:
            sent["Content-Type"] = "application/json"
            content = content if content is not None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=60)
        try:
            target = path if path.startswith("/-/") else ROOT + path
            connection.request(method, target, content, sent | dict(headers or {}))
            response = connection.getresponse()
            answer = Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()
        return _checked(answer)

    def get(self, path: str, **parameters: object) -> Answer:
        return self.ask("GET", f"{path}?{urlencode(parameters)}" if parameters else path)

    def make(self, *scopes: str, **facts: object) -> Any:
        """Make a token over the API; return it."""
        facts = {"name": "Made", "scopes": scopes or ("code:read",)} | facts
        answer = self.ask("POST", "/tokens", facts)
        assert answer.status == 201, answer
        return answer.json


def _checked(answer: Answer) -> Answer:
    """What holds for every answer of the API."""
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-Id"]
    assert "Set-Cookie" not in answer.headers
    assert not any(name.startswith("Access-Control") for name in answer.headers)
    if answer.status == 401:
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="')
    if answer.status >= 400:
        # Not every 4xx has a body: one to HEAD has none.
        assert answer.headers["Content-Type"] == PROBLEM
    if answer.body and answer.status < 400 and "token" in answer.json:
        SEEN.secrets.add(answer.json["token"])
    return answer


def make_account(proxy: Proxy, name: str, **kind: bool) -> str:
    kind = {"administrator": False, "service": False} | kind

    async def action(services: Services) -> None:
        await services.accounts.add(name, **kind, by=Author("test"))

    proxy.services(action)
    return name


def client_of(proxy: Proxy, account: str, *scopes: str, **facts: object) -> Client:
    """Return a program with a new token of an account, which is made if need be."""
    secret, _ = proxy.make_token(*(scopes or ("tokens:write", "code:write")), account=account, **facts)
    return Client(proxy, secret)
