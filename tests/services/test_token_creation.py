"""A token is made, and found by its secret."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from gitpat_proxy.access.model import Status
from gitpat_proxy.access.secret import hint_of, is_well_formed, make_secret
from gitpat_proxy.config.model import Config
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.tokens import TokenFacts, Tokens
from gitpat_proxy.store.database import Database
from tests.access.examples import NOW
from tests.services.conftest import ROUTES, FakeClock
from tests.services.token_life import ADA, DAY, NO_BOB, READ, TICK, create, events, found, refusal
from tests.support.secrets_seen import SEEN


async def test_a_new_token_is_found_by_its_secret_alone(tokens: Tokens) -> None:
    secret, token = await create(tokens)
    assert is_well_formed(secret)
    assert token.hint == hint_of(secret)
    assert token.created_at == NOW
    assert (token.name, token.account, token.scopes) == ("Laptop", "alice", {"code:read"})
    pair = await tokens.find(secret)
    assert pair
    assert pair[0] == token == await tokens.get(token.id)
    assert pair[1].name == "alice"
    other = make_secret()
    SEEN.secrets.add(other)
    assert await tokens.find(other) is None


async def test_every_token_has_its_own_id_and_secret(tokens: Tokens) -> None:
    made = [await create(tokens) for _ in range(20)]
    assert len({secret for secret, _ in made}) == len({token.id for _, token in made}) == 20


@pytest.mark.parametrize(
    ("expires", "lifetime"),
    [("90d", 90 * DAY), ("180d", 180 * DAY), ("365d", 365 * DAY), ("12h", DAY / 2), (None, 90 * DAY)],
)
async def test_a_token_ends_exactly_when_it_was_to(
    tokens: Tokens, clock: FakeClock, expires: str | None, lifetime: timedelta
) -> None:
    secret, token = await create(tokens, replace(READ, expires=expires))
    assert token.expires_at == NOW + lifetime
    for moment, status in [
        (NOW + lifetime - TICK, Status.ACTIVE),
        (NOW + lifetime, Status.EXPIRED),
        (NOW + 10 * lifetime, Status.EXPIRED),
    ]:
        clock.now = moment
        again = await found(tokens, secret)
        assert again
        assert again.status(clock()) is status
        assert [t.status(moment) for t in await tokens.listed("alice", status)] == [status]


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (replace(READ, expires="366d"), "366d is too long; the longest lifetime is 365d"),
        (replace(READ, expires="never"), "tokens without end are off here; the longest"),
        (replace(READ, expires="2026-03-13"), "2026-03-13 has passed already"),
        (replace(READ, expires="soon"), "'soon' is no time that can be used"),
        (replace(READ, expires=""), "'' is no time that can be used"),
        (replace(READ, not_before="soon"), "'soon' is no time that can be used"),
        (replace(READ, expires="1d", not_before="2d"), "the token would end before it begins"),
        (replace(READ, expires="1d", not_before="1d"), "the token would end before it begins"),
        (replace(READ, scopes=[]), "a token needs at least one scope"),
        (replace(READ, scopes=None), "a token needs at least one scope"),
        (replace(READ, scopes=["code:read", "wiki"]), "unknown scope wiki; accepted: code:read"),
        (replace(READ, name=""), "a token's name has 1 to 100 characters"),
        (replace(READ, name=None), "a token's name has 1 to 100 characters"),
        (replace(READ, name="a\x1b[31m"), "a token's name may have no line breaks and no control"),
        (replace(READ, addresses=["192.0.2.1/24"]), "192.0.2.1/24 has host bits set; accepted: "),
        (replace(READ, addresses=["fe80::1%eth0"]), "an address with a zone (%) names this machine's"),
        (replace(READ, addresses=["192.0.2.0/24", "fe80::%1/64"]), "an address with a zone (%) names"),
        (replace(READ, addresses=["any", "::/0"]), "'any' does not appear to be an IPv4 or IPv6"),
    ],
)
async def test_what_no_token_can_be_is_refused_and_not_made(
    tokens: Tokens, database: Database, facts: TokenFacts, sentence: str
) -> None:
    assert (await refusal(tokens.create("alice", facts, by=ADA))).startswith(sentence)
    assert await tokens.listed(None, None) == []
    assert await events(database) == []


async def test_an_owner_must_be_there_and_enabled(tokens: Tokens, accounts: Accounts) -> None:
    assert await refusal(create(tokens, account="bob")) == NO_BOB
    await accounts.disable("alice", by=ADA)
    disabled = await refusal(create(tokens))
    assert disabled == "the account alice is disabled; `account enable alice` changes that"
    assert await tokens.listed(None, None) == []


async def test_the_configuration_decides_how_long_tokens_live(
    tokens: Tokens, database: Database, clock: FakeClock
) -> None:
    for lifetimes, expires, expires_at in [
        ({"default_lifetime": "1h", "longest_lifetime": "2h"}, None, NOW + DAY / 24),
        ({"default_lifetime": "1h", "longest_lifetime": "2h"}, "2h", NOW + DAY / 12),
        ({"longest_lifetime": "never"}, "never", None),
        ({"longest_lifetime": "never", "default_lifetime": "never"}, None, None),
        ({"longest_lifetime": "never"}, "9999-12-31", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ]:
        config = Config.model_validate({"routes": ROUTES, "tokens": lifetimes})
        secret, token = await create(Tokens(database, clock, config), replace(READ, expires=expires))
        assert token.expires_at == expires_at
        assert await found(tokens, secret) == token


async def test_what_can_not_be_a_secret_is_never_looked_up(tokens: Tokens, database: Database) -> None:
    secret, _ = await create(tokens)
    statements: list[object] = []
    engine = database.engine
    sa.event.listen(engine, "before_cursor_execute", lambda *all_: statements.append(all_))
    mistyped = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    for text in ["", "password", secret[:-1], secret + "a", secret.lower(), mistyped, "ü", "\0" * 51]:
        assert await tokens.find(text) is None
    assert statements == []
    assert await tokens.find(secret)
    assert len(statements) == 1
