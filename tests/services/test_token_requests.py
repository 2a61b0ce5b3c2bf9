"""Tokens for who asks by a page or the API: once, what is theirs, never more than themselves."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gitpat_proxy.access.model import Author, Status, Token
from gitpat_proxy.access.representation import version_of
from gitpat_proxy.access.secret import make_secret
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.audit import Recorder
from gitpat_proxy.services.errors import (
    ConflictError,
    FactsError,
    ForbiddenError,
    NotFoundError,
    ServiceError,
)
from gitpat_proxy.services.tokens import KEYS_KEPT, OnceRequest, TokenFacts, Tokens, day_of
from gitpat_proxy.store.database import Database
from gitpat_proxy.store.tokens import TokenQuery
from tests.access.examples import NOW
from tests.services.conftest import FakeClock
from tests.services.signing_in import add, everything, told
from tests.services.token_life import ADA, DAY, READ, TICK, create, found, refusal
from tests.support.secrets_seen import SEEN

ALICE = Author("alice", "192.0.2.1", "r-1", confined_to="alice")
BOB = replace(ALICE, name="bob", confined_to="bob")
REQUEST = OnceRequest("key", "content")


async def problems(action: Awaitable[object]) -> dict[str, str]:
    with pytest.raises(FactsError) as caught:
        await action
    assert str(caught.value) == "; ".join(caught.value.problems.values())
    return dict(caught.value.problems)


def seen(secret: str | None) -> str:
    assert secret
    SEEN.secrets.add(secret)
    return secret


# Once


async def test_what_is_asked_for_once_more_gives_no_secret_and_no_second_token(
    tokens: Tokens, database: Database
) -> None:
    secret, token = await tokens.create_once("alice", READ, REQUEST, by=ALICE)
    assert await found(tokens, seen(secret)) == token
    for facts in (READ, replace(READ, name="Other")):
        assert await tokens.create_once("alice", facts, REQUEST, by=ALICE) == (None, token)
    assert await tokens.listed("alice", None) == [token]
    assert [event.event for event in await told(database)][-1:] == ["token_created"]
    assert secret not in everything(database)


async def test_of_many_at_once_one_gets_the_secret(tokens: Tokens) -> None:
    made = await asyncio.gather(
        *(tokens.create_once("alice", READ, REQUEST, by=ALICE) for _ in range(10))
    )
    [secret] = [secret for secret, _ in made if secret]
    assert await found(tokens, seen(secret))
    assert len({token.id for _, token in made}) == 1


async def test_another_content_with_the_same_key_is_a_conflict(tokens: Tokens) -> None:
    secret, token = await tokens.create_once("alice", READ, REQUEST, by=ALICE)
    seen(secret)
    other = replace(REQUEST, content="another")
    for action in (
        tokens.create_once("alice", READ, other, by=ALICE),
        tokens.rotate_once(token.id, "alice", other, by=ALICE),
    ):
        with pytest.raises(ConflictError, match="this key came before, with another request; make up a"):
            await action
    assert await tokens.listed("alice", None) == [token]
    # Another key is another request, whatever is asked.
    again, second = await tokens.create_once("alice", READ, OnceRequest("Key", "content"), by=ALICE)
    assert await found(tokens, seen(again)) == second != token


async def test_the_same_key_of_another_account_is_another_key(
    tokens: Tokens, accounts: Accounts
) -> None:
    await add(accounts, "bob", None)
    made = {}
    for author in (ALICE, BOB):
        secret, token = await tokens.create_once(author.name, READ, REQUEST, by=author)
        seen(secret)
        made[author.name] = token
    for author in (ALICE, BOB):
        again = await tokens.create_once(author.name, READ, REQUEST, by=author)
        assert again == (None, made[author.name])
    assert {name: token.account for name, token in made.items()} == {"alice": "alice", "bob": "bob"}


async def test_a_key_is_kept_for_30_days(tokens: Tokens, clock: FakeClock) -> None:
    secret, token = await tokens.create_once("alice", READ, REQUEST, by=ALICE)
    seen(secret)
    assert 30 * DAY == KEYS_KEPT
    clock.now += 30 * DAY
    assert (await tokens.create_once("alice", READ, REQUEST, by=ALICE))[0] is None
    clock.now += TICK
    secret, second = await tokens.create_once("alice", READ, REQUEST, by=ALICE)
    assert await found(tokens, seen(secret)) == second != token


async def test_what_failed_may_be_asked_for_again_with_the_same_key(tokens: Tokens) -> None:
    assert await problems(tokens.create_once("alice", TokenFacts(), REQUEST, by=ALICE))
    assert await refusal(tokens.rotate_once("x", "alice", REQUEST, by=ALICE))
    secret, _ = await tokens.create_once("alice", READ, REQUEST, by=ALICE)
    seen(secret)


async def test_a_key_may_be_any_text(tokens: Tokens) -> None:
    for number, text in enumerate(["", "\0", "\udcff", "x" * 100_000, "' --"]):
        secret, _ = await tokens.create_once("alice", READ, OnceRequest(text, text), by=ALICE)
        seen(secret)
        assert len(await tokens.listed("alice", None)) == number + 1


async def test_a_new_secret_comes_once_as_well(tokens: Tokens) -> None:
    old, token = await create(tokens)
    secret, rotated = await tokens.rotate_once(token.id, "alice", REQUEST, by=ALICE)
    assert await found(tokens, seen(secret)) == rotated
    assert await found(tokens, old) is None
    assert await tokens.rotate_once(token.id, "alice", REQUEST, by=ALICE) == (None, rotated)
    assert await found(tokens, seen(secret)) == rotated
    # What comes again shows the token as it is by then.
    await tokens.revoke([token.id], None, by=ALICE)
    again = await tokens.rotate_once(token.id, "alice", REQUEST, by=ALICE)
    assert again[0] is None
    assert again[1].revoked_at


# What is theirs


async def test_anothers_token_is_as_if_it_were_not_there(
    tokens: Tokens, accounts: Accounts, database: Database
) -> None:
    await add(accounts, "bob", None)
    secret, token = await create(tokens)
    before = everything(database)
    for action in (
        tokens.get(token.id, "bob"),
        tokens.edit(token.id, TokenFacts(name="Mine"), by=BOB),
        tokens.rotate(token.id, by=BOB),
        tokens.rotate_once(token.id, "bob", REQUEST, by=BOB),
        tokens.revoke([token.id], None, by=BOB),
    ):
        with pytest.raises(NotFoundError, match=f"there is no token {token.id}") as caught:
            await action
        with pytest.raises(NotFoundError) as unknown:
            await tokens.get("x", "bob")
        assert caught.value.sentence == unknown.value.sentence.replace("x", token.id)
    assert everything(database) == before
    assert await found(tokens, secret) == token
    # Of several, theirs alone.
    _, theirs = await create(tokens, account="bob")
    with pytest.raises(NotFoundError, match=f"there is no token {token.id}; the others are revoked"):
        await tokens.revoke([token.id, theirs.id], None, by=BOB)
    assert (await tokens.get(theirs.id)).revoked_at
    assert await found(tokens, secret) == token
    # Who is confined to nothing reaches all.
    assert await tokens.get(token.id) == token
    await tokens.revoke([token.id], None, by=ADA)


# Never more than the token that asks


async def makers(tokens: Tokens, **facts: Any) -> Author:
    """Return who asks by a token of alice's."""
    wanted = TokenFacts(name="Maker", scopes=["tokens:write", "code:read"], expires="30d")
    _, maker = await create(tokens, replace(wanted, **facts))
    return replace(ALICE, maker=maker)


WITHIN = TokenFacts(name="Made", scopes=["code:read"], expires="30d")
BEYOND = [
    ({"scopes": ["code:write"]}, "does not have code:write itself"),
    ({"scopes": ["code:read", "work_items:read"]}, "does not have work_items:read itself"),
    ({"expires": "31d"}, "ends on 2026-04-13T15:09:26Z itself"),
    ({"addresses": ["10.0.0.0/7"]}, "may be used from 10.0.0.0/8 only"),
    ({"addresses": ["any"]}, "may be used from 10.0.0.0/8 only"),
]
LIMITED = {"addresses": ["10.0.0.0/8"]}


@pytest.mark.parametrize(("facts", "sentence"), BEYOND)
async def test_what_a_token_makes_is_within_itself(
    tokens: Tokens, database: Database, facts: dict[str, Any], sentence: str
) -> None:
    author = await makers(tokens, **LIMITED)
    within = replace(WITHIN, addresses=["10.1.0.0/16"])
    before = everything(database)
    for action in (
        tokens.create("alice", replace(within, **facts), by=author),
        tokens.create_once("alice", replace(within, **facts), REQUEST, by=author),
    ):
        with pytest.raises(ForbiddenError, match=sentence):
            await action
    assert everything(database) == before
    secret, made = await tokens.create("alice", within, by=author)
    assert await found(tokens, seen(secret)) == made


async def test_what_is_not_given_is_not_beyond_either(tokens: Tokens) -> None:
    """The default end would be; nobody asked for it, so the token ends with the one that asks."""
    author = await makers(tokens)
    assert author.maker
    _, made = await tokens.create("alice", replace(WITHIN, expires=None), by=author)
    assert made.expires_at == author.maker.expires_at
    author = await makers(tokens, **LIMITED)
    with pytest.raises(ForbiddenError, match=r"from 10\.0\.0\.0/8 only"):
        await tokens.create("alice", WITHIN, by=author)


@pytest.mark.parametrize(("facts", "sentence"), BEYOND)
async def test_what_a_token_edits_is_within_itself_afterwards(
    tokens: Tokens, facts: dict[str, Any], sentence: str
) -> None:
    author = await makers(tokens, **LIMITED)
    _, token = await create(tokens, replace(WITHIN, addresses=["10.1.0.0/16"]))
    with pytest.raises(ForbiddenError, match=sentence):
        await tokens.edit(token.id, TokenFacts(**facts), by=author)
    assert await tokens.get(token.id) == token
    assert (await tokens.edit(token.id, TokenFacts(name="Other"), by=author)).name == "Other"


async def test_a_token_edits_and_renews_nothing_that_does_more_than_itself(tokens: Tokens) -> None:
    """Or it would have a secret that does more."""
    author = await makers(tokens)
    secret, wider = await create(tokens, replace(WITHIN, scopes=["code:write"], expires="90d"))
    for action in (
        tokens.rotate(wider.id, by=author),
        tokens.rotate_once(wider.id, "alice", REQUEST, by=author),
        tokens.edit(wider.id, TokenFacts(name="Other"), by=author),
        tokens.edit(wider.id, TokenFacts(scopes=["code:read"]), by=author),
        tokens.edit(wider.id, TokenFacts(expires="1d"), by=author),
    ):
        with pytest.raises(ForbiddenError, match="the token that asks "):
            await action
    assert await found(tokens, secret) == wider
    narrowed = await tokens.edit(wider.id, TokenFacts(scopes=["code:read"], expires="1d"), by=author)
    new, _ = await tokens.rotate(narrowed.id, by=author)
    assert await found(tokens, seen(new))
    await tokens.revoke([wider.id], None, by=author)


async def test_a_token_changes_itself_in_no_way_but_may_end_itself(tokens: Tokens) -> None:
    author = await makers(tokens)
    assert author.maker
    own = author.maker.id
    for action in (
        tokens.edit(own, TokenFacts(name="Other"), by=author),
        tokens.edit(own, TokenFacts(scopes=["code:read"]), by=author),
        tokens.rotate(own, by=author),
        tokens.rotate_once(own, "alice", REQUEST, by=author),
    ):
        with pytest.raises(ForbiddenError, match="a token can't change itself"):
            await action
    assert await tokens.get(own) == author.maker
    [revoked] = await tokens.revoke([own], None, by=author)
    assert revoked.revoked_by == "alice"


# Several at once


async def test_an_edit_of_what_was_changed_meanwhile_is_a_conflict(
    tokens: Tokens, database: Database
) -> None:
    _, token = await create(tokens)
    recorder = Recorder(database)
    recorder.use(token.id, NOW, "192.0.2.1")
    await recorder.close()
    version = version_of(token)
    renamed = await tokens.edit(token.id, TokenFacts(name="Other"), by=ALICE, version=version)
    conflict = f"the token {renamed.label} was changed meanwhile; look at it again"
    for old in (version, "", "*"):
        with pytest.raises(ConflictError) as caught:
            await tokens.edit(token.id, TokenFacts(name="Third"), by=ALICE, version=old)
        assert str(caught.value) == conflict
    assert (await tokens.get(token.id)).name == "Other"
    # A new secret is a change as well.
    seen((await tokens.rotate(token.id, by=ALICE))[0])
    edit = tokens.edit(token.id, TokenFacts(name="Third"), by=ALICE, version=version_of(renamed))
    with pytest.raises(ConflictError):
        await edit
    assert (await tokens.edit(token.id, TokenFacts(name="Third"), by=ALICE)).name == "Third"


async def test_of_two_edits_at_once_one_is_a_conflict(tokens: Tokens) -> None:
    _, token = await create(tokens)
    edits = [
        tokens.edit(token.id, TokenFacts(name=name), by=ALICE, version=version_of(token))
        for name in ("One", "Two")
    ]
    results = await asyncio.gather(*edits, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["ConflictError", "Token"]


# Revoking


async def test_all_tokens_of_an_account_that_open_something_are_revoked(
    tokens: Tokens, accounts: Accounts, database: Database, clock: FakeClock
) -> None:
    await add(accounts, "bob", None)
    secret, _ = await create(tokens)
    _, pending = await create(tokens, replace(READ, not_before="10d"))
    _, expired = await create(tokens, replace(READ, expires="1h"))
    _, revoked = await create(tokens)
    [revoked] = await tokens.revoke([revoked.id], "lost", by=ADA)
    _, bobs = await create(tokens, account="bob")
    clock.now += timedelta(hours=1)
    assert await refusal(tokens.revoke_all("alice", "a\nb", by=ALICE))
    assert await tokens.revoke_all("alice", "leaving", by=ALICE) == 2
    ended = await found(tokens, secret)
    for token in (ended, await tokens.get(pending.id)):
        assert token
        assert token.status(clock()) is Status.REVOKED
        assert (token.revoked_by, token.revoked_reason) == ("alice", "leaving")
    assert await tokens.get(expired.id) == replace(expired, was_expired=True)
    assert await tokens.get(revoked.id) == revoked
    assert await tokens.get(bobs.id) == bobs
    revocations = [event for event in await told(database) if event.event == "token_revoked"]
    assert len(revocations) == 3
    assert await tokens.revoke_all("alice", None, by=ALICE) == 0
    assert await tokens.revoke_all("nobody", None, by=ADA) == 0


async def test_a_secret_that_somebody_found_ends_its_token_and_the_owner_sees_the_note(
    tokens: Tokens, accounts: Accounts, database: Database, clock: FakeClock
) -> None:
    finder = Author("somebody", "198.51.100.1", "r-7")
    noted, first = await create(tokens)
    plain, second = await create(tokens, replace(READ, not_before="1d"))
    await accounts.disable("alice", by=ADA)
    await tokens.revoke_found(noted, " on a forum ", by=finder)
    await tokens.revoke_found(plain, None, by=finder)
    one, two = await tokens.get(first.id), await tokens.get(second.id)
    assert (one.revoked_at, one.revoked_by, one.revoked_reason) == (
        NOW,
        "somebody",
        "found: on a forum",
    )
    assert (two.revoked_by, two.revoked_reason) == ("somebody", "found")
    last = (await told(database))[-2]
    assert (last.event, last.account, last.token) == ("token_revoked", "alice", first.id)
    assert (last.address, last.request) == ("198.51.100.1", "r-7")
    assert last.details == {"by": "somebody", "reason": "found: on a forum"}
    # Once more changes nothing and is told to nobody.
    before = everything(database)
    clock.now += DAY
    await tokens.revoke_found(noted, "again", by=finder)
    assert everything(database) == before
    assert noted not in before


async def test_what_is_no_tokens_secret_gets_the_same_answer(tokens: Tokens, database: Database) -> None:
    secret, _ = await create(tokens)
    unknown = make_secret()
    SEEN.secrets.add(unknown)
    before = everything(database)
    for text in (unknown, "", "x", secret[:-1], f" {secret}", secret + "\n", "\udcff", "\0"):
        await tokens.revoke_found(text, "note", by=ADA)
    for text in (secret, unknown, "x"):
        assert (await problems(tokens.revoke_found(text, "a\nb", by=ADA))).keys() == {"reason"}
    assert everything(database) == before


# What can't be used


async def test_every_fact_that_can_not_be_used_is_told_at_once(tokens: Tokens) -> None:
    bad = TokenFacts("", ["wiki"], "soon", "later", ["host"])
    _, token = await create(tokens)
    for action in (
        tokens.create("alice", bad, by=ALICE),
        tokens.create_once("alice", bad, REQUEST, by=ALICE),
        tokens.edit(token.id, bad, by=ALICE),
    ):
        found = await problems(action)
        assert list(found) == ["name", "scopes", "expires", "not_before", "addresses"]
        assert all(sentence.strip() for sentence in found.values())
    assert (await problems(tokens.create("alice", TokenFacts(), by=ALICE))).keys() == {"name", "scopes"}
    backwards = replace(READ, expires="1d", not_before="2d")
    assert (await problems(tokens.create("alice", backwards, by=ALICE))).keys() == {"expires"}


@pytest.mark.parametrize(
    ("administrator", "service", "accepted"),
    [
        (False, False, set()),
        (True, False, {"admin"}),
        (False, True, {"tokens:introspect"}),
    ],
)
async def test_some_scopes_are_for_some_accounts_alone(
    tokens: Tokens, accounts: Accounts, administrator: bool, service: bool, accepted: set[str]
) -> None:
    await accounts.add("bob", administrator=administrator, service=service, by=ADA)
    for scope in ("admin", "tokens:introspect"):
        facts = replace(READ, scopes=[scope])
        if scope in accepted:
            assert (await create(tokens, facts, "bob"))[1].scopes == {scope}
        else:
            found = await problems(tokens.create("bob", facts, by=ADA))
            assert found["scopes"].startswith(f"{scope} is not for this account; accepted: ")
            assert scope not in found["scopes"].partition("accepted")[2]
            _, token = await create(tokens, READ, "bob")
            edit = tokens.edit(token.id, TokenFacts(scopes=[scope]), by=ADA)
            assert (await problems(edit)).keys() == {"scopes"}


# Looking


async def test_the_uses_of_the_last_days_are_counted_today_last(
    tokens: Tokens, database: Database, clock: FakeClock
) -> None:
    made = [(await create(tokens))[1] for _ in range(3)]
    today = day_of(clock.now)
    recorder = Recorder(database)

    async def used(token: Token, *days_ago: int) -> None:
        for days in days_ago:
            event = ALICE.did("fetch", clock.now - days * DAY, "alice", token.id)
            recorder.event(event)
            recorder.event(replace(event, event="refused"))
        await recorder.flush()

    await used(made[0], 0, 0, 1, 6, 7)
    await used(made[0], 0, 6)
    await used(made[1], -1, 2)
    await recorder.close()
    uses = await tokens.uses(made, 7)
    assert uses == {
        made[0].id: [2, 0, 0, 0, 0, 1, 3],
        made[1].id: [0, 0, 0, 0, 1, 0, 0],
        made[2].id: [0] * 7,
    }
    assert await tokens.uses(made[:1], 1) == {made[0].id: [3]}
    assert await tokens.uses([], 30) == {}
    # The day ends at midnight, in UTC.
    clock.now = clock.now.replace(hour=23, minute=59, second=59, microsecond=999_999)
    assert day_of(clock.now) == today
    assert (await tokens.uses(made, 7))[made[0].id][-1] == 3
    clock.now += TICK
    assert (await tokens.uses(made, 7))[made[0].id] == [0, 0, 0, 0, 1, 3, 0]


async def test_a_page_has_what_is_wanted_newest_first(tokens: Tokens, clock: FakeClock) -> None:
    made = []
    for name in ("One", "Two", "Three"):
        made.append((await create(tokens, replace(READ, name=name)))[1])
        clock.now += timedelta(seconds=1)
    assert await tokens.page(TokenQuery()) == made[::-1]
    assert await tokens.page(TokenQuery("alice", search="t", limit=1)) == [made[2]]
    assert await tokens.page(TokenQuery("nobody")) == []
    assert await tokens.listed("alice", None) == made
    with pytest.raises(ServiceError, match="there is no account nobody"):
        await tokens.listed("nobody", None)
