"""What limits a token: as it is typed, kept, counted; and what one token derives from itself."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from gitpat_proxy.access.model import AuditFilter, Author, Status, Token, lineage
from gitpat_proxy.access.refusal import Code, RefusedError
from gitpat_proxy.access.representation import ref_texts
from gitpat_proxy.services.audit import search
from gitpat_proxy.services.errors import ForbiddenError
from gitpat_proxy.services.tokens import TokenFacts, Tokens
from gitpat_proxy.store.database import Database
from gitpat_proxy.store.tokens import TokenQuery
from tests.access.examples import NOW
from tests.services.conftest import FakeClock
from tests.services.test_token_requests import problems
from tests.services.token_life import ADA, READ, create, found, refusal
from tests.support.secrets_seen import SEEN

LIMITED = replace(
    READ,
    repositories=["team/**", "!team/secret.git", "/team/**"],
    refs=["refs/heads/main", "refs/heads/agent/**=force,create"],
    uses="3",
)
DELEGATE = TokenFacts(name="Agent", scopes=["code:write", "tokens:delegate"])
JOB = TokenFacts(name="Job", scopes=["code:read"])


async def derive(tokens: Tokens, parent: Token, facts: TokenFacts = JOB) -> tuple[str, Token]:
    secret, token = await tokens.derive(parent.id, facts, by=ADA)
    SEEN.secrets.add(secret)
    return secret, token


async def line_of(tokens: Tokens, length: int = 3) -> list[tuple[str, Token]]:
    """Make a token, one that is derived from it, and so on."""
    made = [await create(tokens, DELEGATE)]
    while len(made) < length:
        made.append(await derive(tokens, made[-1][1], DELEGATE))
    return made


async def test_limits_are_kept_as_they_were_understood(tokens: Tokens) -> None:
    secret, token = await create(tokens, LIMITED)
    assert await found(tokens, secret) == token
    assert token.repositories == ("team/**", "!team/secret")
    assert ref_texts(token) == [
        "refs/heads/main=create,update",
        "refs/heads/agent/**=create,update,force",
    ]
    assert (token.uses, token.uses_left) == (3, 3)


async def test_what_is_given_replaces_what_was_and_any_takes_it_away(tokens: Tokens) -> None:
    _, token = await create(tokens, LIMITED)
    edited = await tokens.edit(token.id, TokenFacts(repositories=["other"]), by=ADA)
    assert edited == replace(token, repositories=("other",))
    free = TokenFacts(repositories=["any"], refs=["any"], uses="any", addresses=["any"])
    edited = await tokens.edit(token.id, free, by=ADA)
    assert edited == replace(token, repositories=None, refs=None, uses=None, uses_left=None)
    assert await tokens.get(token.id) == edited


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (TokenFacts(repositories=[]), "nothing is included; include something, if need be all with **"),
        (TokenFacts(repositories=["!team/app"]), "nothing is included"),
        (TokenFacts(repositories=["any", "team/app", "a//b"]), "'a//b' matches nothing"),
        (TokenFacts(repositories=["x"] * 101), "101 are too many; accepted: 100 at most, or any"),
        (TokenFacts(refs=["**"] * 101), "101 are too many"),
        (TokenFacts(addresses=["::1"] * 101), "101 are too many"),
        (TokenFacts(refs=[]), "no rule is given; accepted: rules as refs/heads/main=update, or any"),
        (TokenFacts(addresses=[]), "no network is given; accepted: networks as 192.0.2.0/24, or any"),
        (TokenFacts(refs=["main"]), "'main' is no full name of a ref"),
        (TokenFacts(refs=["refs/heads/main=push"]), "'push' is no verb for a ref; accepted: create, "),
        (TokenFacts(uses="0"), "'0' is no number of uses; accepted: 1 to 999999999, or any"),
        (TokenFacts(uses="-1"), "'-1' is no number of uses"),
        (TokenFacts(uses="1.5"), "'1.5' is no number of uses"),
        (TokenFacts(uses="1000000000"), "'1000000000' is no number of uses"),
    ],
)
async def test_what_can_not_be_used_is_said(tokens: Tokens, facts: TokenFacts, sentence: str) -> None:
    _, token = await create(tokens)
    [(_, said)] = (await problems(tokens.edit(token.id, facts, by=ADA))).items()
    assert said.startswith(sentence)


# Uses


async def used_up(tokens: Tokens, token: Token) -> str:
    """Return which token is said to have no use left."""
    with pytest.raises(RefusedError) as caught:
        await tokens.take_use(token.id)
    assert caught.value.refusal.code is Code.TOKEN_USED_UP
    return caught.value.refusal.sentence.removeprefix("The token ").partition(" has been")[0]


async def test_a_token_ends_with_its_last_use(tokens: Tokens) -> None:
    _, token = await create(tokens, replace(READ, uses=2))
    taken = [await tokens.take_use(token.id) for _ in range(2)]
    assert await used_up(tokens, token) == token.label
    ended = await tokens.get(token.id)
    assert (ended.uses, ended.uses_left) == (2, 0)
    assert await tokens.listed("alice", Status.EXPIRED) == [ended]
    assert await tokens.listed("alice", Status.ACTIVE) == []
    await tokens.give_use_back(taken[0])
    assert (await tokens.get(token.id)).uses_left == 1


async def test_a_token_whose_last_use_is_taken_is_revoked_with_all_others(tokens: Tokens) -> None:
    _, parent = await create(tokens, replace(DELEGATE, uses=1))
    _, child = await derive(tokens, parent)
    taken = await tokens.take_use(child.id)
    assert await tokens.revoke_all("alice", "lost", by=ADA) == 2
    await tokens.give_use_back(taken)
    for token in (parent, child):
        assert (await tokens.get(token.id)).own_status(NOW) is Status.REVOKED


async def test_why_a_token_without_a_use_left_is_not_changed(tokens: Tokens, clock: FakeClock) -> None:
    _, parent = await create(tokens, replace(DELEGATE, uses=1))
    _, child = await derive(tokens, parent)
    await tokens.take_use(parent.id)
    for token in (parent, child):
        for change in (tokens.edit(token.id, JOB, by=ADA), tokens.rotate(token.id, by=ADA)):
            said = await refusal(change)
            assert said == f"the token {token.label} has no use left at the moment; create another one"
    clock.now += timedelta(hours=1)
    said = await refusal(tokens.edit(child.id, JOB, by=ADA))
    assert said == f"the token {child.label} is expired and stays so; create another one"


async def test_of_many_at_once_as_many_get_a_use_as_there_are(tokens: Tokens) -> None:
    _, token = await create(tokens, replace(READ, uses=3))
    tries = (tokens.take_use(token.id) for _ in range(20))
    taken = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(each == {token.id: 3} for each in taken) == 3
    assert sum(isinstance(each, RefusedError) for each in taken) == 17


async def test_a_use_given_back_is_none_more_than_there_were(tokens: Tokens) -> None:
    _, token = await create(tokens, replace(READ, uses=2))
    taken = await tokens.take_use(token.id)
    await tokens.edit(token.id, TokenFacts(uses="1"), by=ADA)
    await tokens.give_use_back(taken)
    assert (await tokens.get(token.id)).uses_left == 1
    await tokens.edit(token.id, TokenFacts(uses="any"), by=ADA)
    await tokens.give_use_back(taken)
    assert (await tokens.get(token.id)).uses_left is None
    assert await tokens.take_use(token.id) == {}


async def test_a_use_is_not_given_back_to_another_number(tokens: Tokens) -> None:
    _, parent = await create(tokens, DELEGATE)
    _, child = await derive(tokens, parent, replace(JOB, uses=3))
    first = await tokens.take_use(child.id)
    # The limit of one is another now, and that of its parent is new.
    await tokens.edit(child.id, TokenFacts(uses="2"), by=ADA)
    await tokens.edit(parent.id, TokenFacts(uses="2"), by=ADA)
    await tokens.take_use(child.id)
    await tokens.give_use_back(first)
    assert [(await tokens.get(token.id)).uses_left for token in (parent, child)] == [1, 1]


async def test_a_childs_use_is_one_of_all_that_it_comes_from(tokens: Tokens) -> None:
    _, parent = await create(tokens, replace(DELEGATE, uses=2))
    _, child = await derive(tokens, parent, replace(JOB, uses=1))
    _, other = await derive(tokens, parent)
    assert await tokens.take_use(child.id) == {parent.id: 2, child.id: 1}
    # Its own are used up: nothing is taken from its parent.
    assert await used_up(tokens, child) == child.label
    assert (await tokens.get(parent.id)).uses_left == 1
    taken = await tokens.take_use(other.id)
    # Now its parent's are; its own are not touched.
    assert await used_up(tokens, other) == parent.label
    assert (await tokens.get(other.id)).uses_left == 1
    assert (await tokens.get(other.id)).status(NOW) is Status.EXPIRED
    await tokens.give_use_back(taken)
    left = [(await tokens.get(token.id)).uses_left for token in (parent, child, other)]
    assert left == [1, 0, 2]


# Derived tokens


async def test_a_derived_token_comes_with_its_line(tokens: Tokens) -> None:
    made = await line_of(tokens)
    for secret, token in made:
        assert await found(tokens, secret) == token
        assert (await tokens.with_ids([token.id]))[token.id][0] == token
    assert [each.id for each in lineage(made[2][1])] == [token.id for _, token in made[::-1]]
    [child] = await tokens.page(TokenQuery(parent=made[0][1].id))
    assert child == made[1][1]


async def test_a_derived_token_is_as_its_parent_where_nothing_is_said(tokens: Tokens) -> None:
    _, parent = await create(tokens, replace(DELEGATE, **_limits(), addresses=["192.0.2.0/24"]))
    _, child = await derive(tokens, parent)
    assert (child.repositories, child.refs) == (parent.repositories, parent.refs)
    assert (child.addresses, child.uses, child.uses_left) == (parent.addresses, 3, 3)
    assert child.account == "alice"
    assert child.expires_at == child.created_at + timedelta(minutes=15)


async def test_a_derived_token_ends_with_its_parent_at_the_latest(tokens: Tokens) -> None:
    _, parent = await create(tokens, replace(DELEGATE, expires="5m"))
    _, child = await derive(tokens, parent)
    assert child.expires_at == parent.expires_at
    with pytest.raises(ForbiddenError, match="the token that asks ends on"):
        await derive(tokens, parent, replace(JOB, expires="1h"))


@pytest.mark.parametrize(
    "more",
    [
        {"scopes": ["tokens:write"]},
        {"repositories": ["team/secret"]},
        {"repositories": ["any"]},
        {"refs": ["refs/heads/main=force"]},
        {"addresses": ["192.0.3.1"]},
        {"uses": 4},
        {"uses": "any"},
        {"expires": "never"},
    ],
)
async def test_a_derived_token_is_never_wider(
    tokens: Tokens, database: Database, more: dict[str, object]
) -> None:
    facts = replace(DELEGATE, **_limits(), addresses=["192.0.2.0/24"], expires="89d")
    _, parent = await create(tokens, facts)
    before = await tokens.listed(None, None)
    said = await refusal(tokens.derive(parent.id, replace(JOB, **more), by=ADA))  # type: ignore[arg-type]  # by name
    assert said.startswith(("the token that asks", "tokens without end are off"))
    assert await tokens.listed(None, None) == before
    assert [event.event for _, event in await search(database, AuditFilter(token=parent.id))] == [
        "token_created"
    ]


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"scopes": ["code:read", "tokens:write"]}, "scopes"),
        ({"repositories": ["team/secret"]}, "repositories"),
        ({"repositories": ["any"]}, "repositories"),
        ({"refs": ["refs/heads/main=force"]}, "refs"),
        ({"addresses": ["any"]}, "addresses"),
        ({"uses": 4}, "uses left"),
        ({"uses": "any"}, "uses left"),
        ({"expires": "89d"}, "end"),
    ],
)
async def test_a_derived_token_is_not_made_wider(
    tokens: Tokens, more: dict[str, object], word: str
) -> None:
    facts = replace(DELEGATE, **_limits(), addresses=["192.0.2.0/24"], expires="88d")
    _, parent = await create(tokens, facts)
    _, child = await derive(tokens, parent)
    said = await refusal(tokens.edit(child.id, TokenFacts(**more), by=ADA))  # type: ignore[arg-type]  # by name
    assert said == (
        f"it would go beyond the {word} of the token {parent.label}, which it was derived from;"
        " change that one first"
    )
    assert await tokens.get(child.id) == child


async def test_what_stays_as_it_was_stays_where_the_parent_became_narrower(tokens: Tokens) -> None:
    _, parent = await create(tokens, replace(DELEGATE, uses=2, expires="88d"))
    _, child = await derive(tokens, parent)
    await tokens.take_use(child.id)
    await tokens.edit(parent.id, TokenFacts(repositories=["team/app"], expires="1m"), by=ADA)
    as_before = TokenFacts(name="Other", scopes=JOB.scopes)
    assert (await tokens.edit(child.id, as_before, by=ADA)).name == "Other"


async def test_three_generations_and_no_more(tokens: Tokens) -> None:
    *_, (_, last) = await line_of(tokens)
    said = await refusal(tokens.derive(last.id, JOB, by=ADA))
    assert said == f"the token {last.label} is the third of its line; from it no other is derived"


async def test_who_may_not_derive(tokens: Tokens) -> None:
    _, plain = await create(tokens)
    _, dead = await create(tokens, DELEGATE)
    _, pending = await create(tokens, replace(DELEGATE, not_before="1d"))
    _, used = await create(tokens, replace(DELEGATE, uses=1))
    await tokens.take_use(used.id)
    await tokens.revoke([dead.id], "lost", by=ADA)
    said = [await refusal(tokens.derive(t.id, JOB, by=ADA)) for t in (plain, dead, pending, used)]
    assert said[0] == f"the token {plain.label} does not have the scope tokens:delegate"
    assert "was revoked on" in said[1]
    assert "is valid from" in said[2]
    assert "has been used as often as it may" in said[3]


@pytest.mark.parametrize("generation", [0, 1])
async def test_the_end_of_a_token_ends_what_comes_from_it(
    tokens: Tokens, clock: FakeClock, generation: int
) -> None:
    made = await line_of(tokens)
    await tokens.revoke([made[generation][1].id], "over", by=ADA)
    statuses = [(await tokens.get(token.id)).status(clock.now) for _, token in made]
    assert statuses == [Status.ACTIVE] * generation + [Status.REVOKED] * (3 - generation)
    # Where they are looked for it is the same.
    for status in Status:
        ids = {token.id for token in await tokens.listed("alice", status)}
        assert ids == {t.id for (_, t), s in zip(made, statuses, strict=True) if s is status}
    assert (await tokens.get(made[2][1].id)).revoked_at is None


async def test_whatever_is_taken_from_a_token_is_taken_from_its_child(
    tokens: Tokens, clock: FakeClock
) -> None:
    (_, parent), (_, child) = await line_of(tokens, 2)
    await tokens.edit(parent.id, TokenFacts(expires="1m"), by=ADA)
    clock.now += timedelta(minutes=2)
    assert (await tokens.get(child.id)).status(clock.now) is Status.EXPIRED
    # Also where the clock is put back.
    clock.now -= timedelta(minutes=2)
    assert (await tokens.get(child.id)).status(clock.now) is Status.EXPIRED


async def test_to_rotate_a_token_revokes_what_was_derived_from_it(tokens: Tokens) -> None:
    (_, parent), (_, child), (_, last) = await line_of(tokens)
    secret, _ = await tokens.rotate(parent.id, by=ADA)
    SEEN.secrets.add(secret)
    revoked = await tokens.get(child.id)
    assert revoked.revoked_reason == "the token that it was derived from got a new secret"
    assert revoked.revoked_by == "ada"
    assert (await tokens.get(last.id)).status(NOW) is Status.REVOKED
    assert (await tokens.get(parent.id)).status(NOW) is Status.ACTIVE


async def test_a_derived_token_makes_no_other_but_derived_ones(tokens: Tokens) -> None:
    facts = replace(DELEGATE, scopes=["tokens:write", "tokens:delegate", "code:read"])
    _, parent = await create(tokens, facts)
    _, child = await derive(tokens, parent, facts)
    _, other = await create(tokens)
    by = Author("alice", confined_to="alice", maker=child)
    facts = replace(READ, expires="5m")
    for action in (
        tokens.create("alice", facts, by=by),
        tokens.edit(other.id, TokenFacts(name="x"), by=by),
        tokens.rotate(other.id, by=by),
    ):
        assert (await refusal(action)).startswith("the token that asks is a derived one")
    assert (await derive(tokens, child))[1].parent == child


async def test_the_audit_says_who_derived_what_from_what(tokens: Tokens, database: Database) -> None:
    _, parent = await create(tokens, DELEGATE)
    _, child = await derive(tokens, parent, replace(JOB, repositories=["team/app"]))
    [(_, event)] = await search(database, AuditFilter(token=child.id))
    assert (event.event, event.account) == ("token_derived", "alice")
    assert (event.details["by"], event.details["parent"]) == ("ada", parent.id)
    assert event.details["repositories"] == ["team/app"]


def _limits() -> dict[str, object]:
    return {"repositories": LIMITED.repositories, "refs": LIMITED.refs, "uses": LIMITED.uses}
