"""Tells a past with the code of its time, and prints the database that it leaves as SQL.

Before a migration is added, with the code that does not have it yet:

    .venv/bin/python -m tests.store.schemas.make >tests/store/schemas/0002.sql

0001.sql was made so by the commit 47884c3, which had neither authors nor sign-ins.
"""

import asyncio
import sqlite3
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import yaml

from gitpat_proxy.access.model import AuditEvent, Author, Token
from gitpat_proxy.cli.context import Invocation
from gitpat_proxy.config.model import Config
from gitpat_proxy.services import tokens as tokens_module
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.audit import Recorder
from gitpat_proxy.services.passwords import Passwords
from gitpat_proxy.services.sessions import Sessions
from gitpat_proxy.services.sign_in import SignIn, Visit, WrongPasswordError
from gitpat_proxy.services.token_facts import TokenFacts
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store.database import Database, upgrade
from tests.store.schemas.past import NOW, SECRETS

BY = Author("root (command line)")


@dataclass
class _Clock:
    at: datetime

    def __call__(self) -> datetime:
        return self.at


class Story:
    """What happened until NOW."""

    def __init__(self, database: Database, config: Config) -> None:
        self.database = database
        self.clock = _Clock(NOW)
        self.accounts = Accounts(database, self.clock, Passwords())
        self.tokens = Tokens(database, self.clock, config)
        self.recorder = Recorder(database)
        self.requests = 0

    async def tell(self) -> None:
        await self._accounts()
        tokens = await self._tokens()
        self._uses(tokens)
        await self.recorder.close()
        await self._sign_ins()

    async def _accounts(self) -> None:
        self._days_ago(400)
        for name in ("alice", "bob", "build", "mallory", "carol"):
            administrator, service = name == "alice", name == "build"
            await self.accounts.add(name, administrator=administrator, service=service, by=BY)
        await self.accounts.disable("carol", by=BY)

    async def _tokens(self) -> dict[str, Token]:
        made = {
            "laptop": await self._token("laptop", 300, "alice", "code:write"),
            "reader": await self._token(
                "reader", 290, "bob", "code:read", addresses=["127.0.0.0/8", "::1"]
            ),
            "elsewhere": await self._token(
                "elsewhere", 280, "bob", "code:read", addresses=["192.0.2.0/24"]
            ),
            "pending": await self._token("pending", 270, "bob", "code:read", not_before="2124-01-01"),
            "expired": await self._token("expired", 260, "bob", "code:read", expires="30d"),
            "ends": await self._token("ends", 250, "alice", "code:read", expires="2124-01-01"),
            "service": await self._token("service", 240, "build", "code:write"),
            "disabled": await self._token("disabled", 230, "mallory", "code:write"),
            "revoked": await self._token("revoked", 220, "alice", "code:write"),
            "edited": await self._token("edited", 210, "alice", "work_items:read"),
            "items": await self._token("items", 200, "alice", "work_items:read"),
            "rotated": await self._token("rotatedOld", 190, "alice", "code:read"),
        }
        self._days_ago(20)
        await self.accounts.enable("carol", by=BY)
        await self.accounts.disable("mallory", by=BY)
        await self.tokens.revoke([made["revoked"].id], "left on a train", by=BY)
        facts = TokenFacts(name="edited", scopes=["code:read", "work_items:read"])
        await self.tokens.edit(made["edited"].id, facts, by=BY)
        _next_secret("rotatedNew")
        await self.tokens.rotate(made["rotated"].id, by=BY)
        return made

    async def _token(self, name: str, days: int, account: str, scope: str, **facts: object) -> Token:
        self._days_ago(days)
        _next_secret(name)
        given = {"name": name, "scopes": [scope], "expires": "never"} | facts
        return (await self.tokens.create(account, TokenFacts(**given), by=BY))[1]  # type: ignore[arg-type]

    def _uses(self, tokens: dict[str, Token]) -> None:
        for days in (120, 45, 29, 28, 14, 7, 1, 0):
            self._event(tokens["laptop"], "clone", days)
            for _ in range(days % 5):
                self._event(tokens["laptop"], "fetch", days)
            self._event(tokens["service"], "push", days, updates=[_update("refs/heads/main")])
        self._event(tokens["reader"], "archive", 3)
        self._event(tokens["reader"], "clone", 2, aborted=True)
        declined = _update("refs/heads/x") | {"outcome": "ng", "reason": "pre-receive hook declined"}
        self._event(tokens["service"], "push", 2, updates=[_update("refs/tags/v1"), declined])
        for name, code in (
            ("revoked", "token_revoked"),
            ("expired", "token_expired"),
            ("items", "scope_missing"),
            ("elsewhere", "address_denied"),
        ):
            self._event(tokens[name], "refused", 1, code=code, service="git-upload-pack")

    def _event(self, token: Token, event: str, days: int, **details: object) -> None:
        self._days_ago(days)
        self.requests += 1
        at, address = self.clock(), "192.0.2.7"
        self.recorder.event(
            AuditEvent(
                at,
                event,
                account=token.account,
                token=token.id,
                repository="team/app",
                address=address,
                request=f"{self.requests:012x}",
                details=details,
            )
        )
        if event != "refused":
            self.recorder.use(token.id, at, address)

    async def _sign_ins(self) -> None:
        """Alice has three sessions, of which she ends two, and changes her password."""
        self.clock.at = NOW - timedelta(hours=1)
        await self.accounts.set_password("alice", SECRETS["password"], by=BY)
        await self.accounts.import_htpasswd(["bob:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs="], by=BY)
        sign_in = SignIn(self.database, self.clock, Passwords(), 0)
        sessions = Sessions(self.database, self.clock)
        visit = Visit(ip_address("192.0.2.7"), browser="Firefox/140.0", device=None, request="0f")
        author = Author("alice", "192.0.2.7", "0f", confined_to="alice")
        for _ in range(3):
            await sign_in.by_password("alice", SECRETS["password"], visit)
        [first, second, third] = await sessions.listed("alice")
        try:
            await sign_in.by_password("alice", "guessed wrong", visit)
        except WrongPasswordError:
            self.clock.at = NOW
        await sign_in.confirm(first, SECRETS["password"], visit)
        await sessions.end(second.id, "alice", by=author)
        await sessions.end(third.id, "alice", by=author, event="signed_out")
        await self.accounts.change_password(
            "alice", SECRETS["new password"], session=first.id, by=author
        )

    def _days_ago(self, days: int) -> None:
        self.clock.at = NOW - timedelta(days=days)


def _next_secret(name: str) -> None:
    tokens_module.make_secret = lambda: SECRETS[name]  # type: ignore[attr-defined]


def _update(ref: str) -> dict[str, str]:
    return {"ref": ref, "old": "0" * 40, "new": "5" * 40, "outcome": "ok"}


async def _made(folder: Path) -> Path:
    settings = {
        "listen": "127.0.0.1:8418",
        "public_url": "http://127.0.0.1:8418",
        "scopes": {"work_items:read": "Work items (read)"},
        "tokens": {"longest_lifetime": "never"},
        "routes": [{"path": "/", "repositories": "."}],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    config = Invocation(folder / "config.yaml").config
    async with Database(config.database) as database:
        await upgrade(database)
        await Story(database, config).tell()
        return database.path


def _dump(path: Path) -> Iterable[str]:
    connection = sqlite3.connect(path)
    yield from connection.iterdump()
    connection.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made_in:
        for line in _dump(asyncio.run(_made(Path(made_in)))):
            sys.stdout.write(f"{line}\n")
