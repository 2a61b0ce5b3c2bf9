"""What holds for a token is what holds for all that it was derived from, and what ends it is told."""

from datetime import timedelta
from typing import Any

import pytest

from gitpat_proxy.access.model import Status, Token, lineage
from gitpat_proxy.access.policy import decide_alive, decide_going_on, grants_of
from gitpat_proxy.access.refusal import Code
from tests.access.examples import NOW, a_token, an_account

HOUR = timedelta(hours=1)
ENDED: list[tuple[dict[str, Any], Status, Code]] = [
    ({"revoked_at": NOW}, Status.REVOKED, Code.TOKEN_REVOKED),
    ({"expires_at": NOW}, Status.EXPIRED, Code.TOKEN_EXPIRED),
    ({"expires_at": NOW + HOUR, "was_expired": True}, Status.EXPIRED, Code.TOKEN_EXPIRED),
    ({"uses": 2, "uses_left": 0}, Status.EXPIRED, Code.TOKEN_USED_UP),
    ({"not_before": NOW + HOUR}, Status.PENDING, Code.TOKEN_NOT_YET_VALID),
]


def line(generation: int, **changes: Any) -> Token:
    """Return a token of the third generation; the changes are those of the one that is named."""
    token = None
    for each in range(3):
        token = a_token(id=f"id-{each}", name=f"Name {each}", parent=token)
        if each == generation:
            token = a_token(id=token.id, name=token.name, parent=token.parent, **changes)
    assert token
    return token


@pytest.mark.parametrize("generation", [0, 1, 2])
@pytest.mark.parametrize(("changes", "status", "code"), ENDED)
def test_what_ends_a_token_ends_what_comes_from_it(
    generation: int, changes: dict[str, Any], status: Status, code: Code
) -> None:
    token = line(generation, **changes)
    assert token.status(NOW) is status
    refusal = decide_alive(token, an_account(), NOW)
    assert refusal
    assert refusal.code is code
    assert f'"Name {generation}" (id-{generation})' in refusal.sentence
    statuses = [each.own_status(NOW) for each in lineage(token)]
    assert statuses.count(Status.ACTIVE) == 2


def test_the_last_of_the_states_is_told() -> None:
    parent = a_token(revoked_at=NOW)
    assert a_token(parent=parent, expires_at=NOW).status(NOW) is Status.REVOKED
    assert a_token(parent=a_token(expires_at=NOW), not_before=NOW + HOUR).status(NOW) is Status.EXPIRED


@pytest.mark.parametrize("generation", [0, 1, 2])
def test_what_is_under_way_goes_on_with_the_last_use(generation: int) -> None:
    for changes, _, code in ENDED:
        refusal = decide_going_on(line(generation, **changes), an_account(), NOW)
        assert (refusal and refusal.code) == (None if code is Code.TOKEN_USED_UP else code)


@pytest.mark.parametrize(("uses", "words"), [(1, "may: once."), (2, "may: 2 times.")])
def test_how_often_a_token_was_used_is_told(uses: int, words: str) -> None:
    refusal = decide_alive(a_token(uses=uses, uses_left=0), an_account(), NOW)
    assert refusal
    assert refusal.sentence.endswith(words)


def test_a_scope_counts_where_all_have_it() -> None:
    parent = a_token(scopes=frozenset({"code:write", "admin"}))
    token = a_token(scopes=frozenset({"code:read", "tokens:read", "admin"}), parent=parent)
    assert grants_of(token, an_account()) == {"code:read"}
    assert grants_of(token, an_account(administrator=True)) == {"code:read", "admin"}
