"""What the tests of the tokens' service share."""

from collections.abc import Awaitable
from datetime import timedelta

import pytest

from gitpat_proxy.access.model import AuditFilter, Author, Token
from gitpat_proxy.services.audit import search
from gitpat_proxy.services.errors import ServiceError
from gitpat_proxy.services.tokens import TokenFacts, Tokens
from gitpat_proxy.store.database import Database
from tests.support.secrets_seen import SEEN

ADA = Author("ada")
DAY, TICK = timedelta(days=1), timedelta(microseconds=1)
NO_BOB = "there is no account bob; `account list` shows all, `account add` makes one"
READ = TokenFacts(name="Laptop", scopes=["code:read"])


async def create(tokens: Tokens, facts: TokenFacts = READ, account: str = "alice") -> tuple[str, Token]:
    secret, token = await tokens.create(account, facts, by=ADA)
    SEEN.secrets.add(secret)
    return secret, token


async def found(tokens: Tokens, secret: str) -> Token | None:
    pair = await tokens.find(secret)
    return pair[0] if pair else None


async def refusal(action: Awaitable[object]) -> str:
    """Return the sentence with which a service says no."""
    with pytest.raises(ServiceError) as caught:
        await action
    return str(caught.value)


async def events(database: Database) -> list[tuple[str, dict[str, object]]]:
    found = await search(database, AuditFilter())
    return [(event.event, dict(event.details)) for _, event in found if event.token]
