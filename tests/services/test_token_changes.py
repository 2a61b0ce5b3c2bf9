"""A token is edited, given a new secret, and ended."""

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest

from gitpat_proxy.access.model import Author, Status
from gitpat_proxy.access.secret import hint_of
from gitpat_proxy.services.tokens import TokenFacts, Tokens
from gitpat_proxy.store.database import Database
from tests.access.examples import NOW
from tests.services.conftest import FakeClock
from tests.services.token_life import ADA, DAY, NO_BOB, READ, create, events, found, refusal
from tests.support.secrets_seen import SEEN

EDITS = {
    "name": TokenFacts(name="Other"),
    "scopes": TokenFacts(scopes=["code:write", "work_items:read"]),
    "expires_at": TokenFacts(expires="180d"),
    "not_before": TokenFacts(not_before="2026-03-15T00:00:00Z"),
    "addresses": TokenFacts(addresses=["192.0.2.0/24", "2001:db8::/32"]),
}
EDITED = {
    "name": "Other",
    "scopes": frozenset({"code:write", "work_items:read"}),
    "expires_at": NOW + DAY + 180 * DAY,
    "not_before": datetime(2026, 3, 15, tzinfo=UTC),
    "addresses": (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
}


@pytest.mark.parametrize("key", EDITS)
async def test_an_edit_replaces_what_is_given_and_keeps_the_secret(
    tokens: Tokens, clock: FakeClock, key: str
) -> None:
    secret, token = await create(tokens)
    clock.now += DAY
    edited = await tokens.edit(token.id, EDITS[key], by=ADA)
    assert edited == replace(token, **{key: EDITED[key]})
    assert await found(tokens, secret) == edited


async def test_a_limit_to_addresses_can_be_taken_away_again(tokens: Tokens) -> None:
    _, token = await create(tokens, replace(READ, addresses=["192.0.2.0/24"]))
    assert token.addresses == (ip_network("192.0.2.0/24"),)
    assert (await tokens.edit(token.id, TokenFacts(addresses=["any"]), by=ADA)).addresses is None


async def test_an_edit_is_judged_by_the_same_rules_and_changes_nothing_then(tokens: Tokens) -> None:
    secret, token = await create(tokens)
    for facts, sentence in [
        (TokenFacts(expires="366d"), "too long"),
        (TokenFacts(scopes=["wiki"]), "unknown scope"),
        (TokenFacts(name="Other", not_before="100d"), "would end before it begins"),
    ]:
        assert sentence in await refusal(tokens.edit(token.id, facts, by=ADA))
    assert await found(tokens, secret) == token


async def test_a_rotated_token_has_another_secret_and_nothing_else(tokens: Tokens) -> None:
    old, token = await create(tokens)
    new, rotated = await tokens.rotate(token.id, by=ADA)
    SEEN.secrets.add(new)
    assert new != old
    assert rotated == replace(token, hint=hint_of(new))
    assert await tokens.find(old) is None
    assert await found(tokens, new) == rotated


EVERY_CHANGE = [*EDITS.values(), TokenFacts(expires="1d"), None]


@pytest.mark.parametrize("facts", EVERY_CHANGE)
async def test_nothing_brings_an_ended_token_back(
    tokens: Tokens, clock: FakeClock, facts: TokenFacts | None
) -> None:
    expired, expired_token = await create(tokens, replace(READ, expires="1d"))
    revoked, revoked_token = await create(tokens)
    await tokens.revoke([revoked_token.id], None, by=ADA)
    clock.now = NOW + DAY
    for secret, token, status in [
        (expired, expired_token, Status.EXPIRED),
        (revoked, revoked_token, Status.REVOKED),
    ]:
        before = await found(tokens, secret)
        change = tokens.edit(token.id, facts, by=ADA) if facts else tokens.rotate(token.id, by=ADA)
        assert f"is {status} and stays so; create another one" in await refusal(change)
        assert await found(tokens, secret) == before


async def test_an_end_within_a_second_is_an_end_as_well(tokens: Tokens, clock: FakeClock) -> None:
    """Between a typed fraction and the next whole second there must be no second life."""
    _, token = await create(tokens, replace(READ, expires="2026-03-15T00:00:00.5Z"))
    clock.now = datetime(2026, 3, 15, 0, 0, 0, 600_000, tzinfo=UTC)
    assert (await tokens.get(token.id)).status(clock()) is Status.EXPIRED
    edit = tokens.edit(token.id, TokenFacts(expires="90d"), by=ADA)
    assert "is expired and stays so" in await refusal(edit)


async def test_a_pending_token_can_be_edited_and_rotated(tokens: Tokens, clock: FakeClock) -> None:
    _, token = await create(tokens, replace(READ, not_before="1d"))
    assert token.status(clock()) is Status.PENDING
    await tokens.edit(token.id, TokenFacts(name="Other"), by=ADA)
    secret, _ = await tokens.rotate(token.id, by=ADA)
    SEEN.secrets.add(secret)
    clock.now = NOW + DAY
    again = await found(tokens, secret)
    assert again
    assert again.status(clock()) is Status.ACTIVE


async def test_what_has_begun_does_not_go_back_to_its_beginning(tokens: Tokens) -> None:
    _, active = await create(tokens)
    sentence = f"the token {active.label} is valid already; revoke it to end that"
    assert await refusal(tokens.edit(active.id, TokenFacts(not_before="1h"), by=ADA)) == sentence
    assert await tokens.get(active.id) == active
    _, pending = await create(tokens, replace(READ, not_before="1d"))
    later = await tokens.edit(pending.id, TokenFacts(not_before="2d"), by=ADA)
    assert later.not_before == NOW + 2 * DAY
    assert (await tokens.edit(pending.id, TokenFacts(not_before="any"), by=ADA)).not_before is None


async def test_a_second_revocation_keeps_the_first_ones_facts(tokens: Tokens, clock: FakeClock) -> None:
    secret, token = await create(tokens)
    [first] = await tokens.revoke([token.id], " left on a train ", by=ADA)
    assert first == replace(token, revoked_at=NOW, revoked_by="ada", revoked_reason="left on a train")
    clock.now += DAY
    assert await tokens.revoke([token.id, token.id], "another reason", by=Author("bob")) == [first]
    assert await found(tokens, secret) == first


async def test_an_unknown_id_does_not_save_the_others(tokens: Tokens) -> None:
    made = [(await create(tokens))[1] for _ in range(3)]
    ids = [made[0].id, "not-there", made[1].id, "nor-this"]
    some = await refusal(tokens.revoke(ids, None, by=ADA))
    shown = "`token list --status all` shows them"
    assert some == f"there is no token not-there, nor-this; the others are revoked; {shown}"
    none = await refusal(tokens.revoke(["not-there"], None, by=ADA))
    assert none == f"there is no token not-there; {shown}"
    assert {t.id for t in await tokens.listed(None, Status.REVOKED)} == {made[0].id, made[1].id}
    assert await tokens.listed(None, Status.ACTIVE) == [made[2]]


async def test_a_reason_that_can_not_be_shown_revokes_nothing(tokens: Tokens) -> None:
    _, token = await create(tokens)
    for reason in ("a\nb", "x" * 101, " "):
        assert (await refusal(tokens.revoke([token.id], reason, by=ADA))).startswith("a reason ")
    assert await tokens.get(token.id) == token


async def test_what_is_not_there_is_said(tokens: Tokens) -> None:
    for action in (
        tokens.get("x"),
        tokens.edit("x", TokenFacts(name="a"), by=ADA),
        tokens.rotate("x", by=ADA),
    ):
        sentence = "there is no token x; `token list --status all` shows them"
        assert await refusal(action) == sentence
    assert await refusal(tokens.listed("bob", None)) == NO_BOB


async def test_the_audit_tells_the_life_of_a_token_without_its_secret(
    tokens: Tokens, database: Database
) -> None:
    secret, token = await create(tokens, replace(READ, addresses=["192.0.2.0/24"]))
    await tokens.edit(token.id, TokenFacts(name="Other", scopes=["code:read"]), by=Author("bob"))
    new, _ = await tokens.rotate(token.id, by=Author("carol"))
    SEEN.secrets.add(new)
    await tokens.revoke([token.id], "lost", by=Author("dan"))
    await tokens.revoke([token.id], "again", by=Author("dan"))
    told = await events(database)
    assert told == [
        (
            "token_created",
            {
                "name": "Laptop",
                "scopes": ["code:read"],
                "repositories": None,
                "refs": None,
                "addresses": ["192.0.2.0/24"],
                "uses": None,
                "not_before": None,
                "expires_at": "2026-06-12T15:09:26Z",
                "by": "ada",
            },
        ),
        ("token_edited", {"by": "bob", "changes": {"name": ["Laptop", "Other"]}}),
        ("token_rotated", {"by": "carol"}),
        ("token_revoked", {"by": "dan", "reason": "lost"}),
    ]
    assert not any(word in str(told) for word in (secret, secret[5:20], new, new[5:20]))
