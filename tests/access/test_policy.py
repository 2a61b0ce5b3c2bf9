"""The one place that decides: scope x operation x what else can be wrong with an attempt."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.address import Address
from gitpat_proxy.access.patterns import RepositoryPatterns
from gitpat_proxy.access.policy import (
    Attempt,
    Check,
    Permit,
    checks,
    decide,
    decide_alive,
    limits_refs,
    lineage,
    ref_checks,
)
from gitpat_proxy.access.refs import Verb, ref_rule_of
from gitpat_proxy.access.refusal import Code, Refusal
from gitpat_proxy.access.rules import AccessRule
from gitpat_proxy.git.operation import Operation, operation_of
from tests.access.examples import NOW, a_token, an_account

HOUR = timedelta(hours=1)
INSIDE, OUTSIDE = IPv4Address("192.0.2.7"), IPv4Address("203.0.113.9")

OPERATIONS = {
    "fetch's advertisement": operation_of("GET", "/app/info/refs", "service=git-upload-pack"),
    "fetch": operation_of("POST", "/app/git-upload-pack", ""),
    "archive's advertisement": operation_of("GET", "/app/info/refs", "service=git-upload-archive"),
    "archive": operation_of("POST", "/app/git-upload-archive", ""),
    "dumb refs": operation_of("GET", "/app/info/refs", ""),
    "dumb file": operation_of("GET", "/app/HEAD", ""),
    "push's advertisement": operation_of("GET", "/app/info/refs", "service=git-receive-pack"),
    "push": operation_of("POST", "/app/git-receive-pack", ""),
}
READING, WRITING = list(OPERATIONS)[:6], list(OPERATIONS)[6:]

# The scopes of a token, and the operations that they are for.
PERMITTED = {
    ("code:read",): READING,
    ("code:write",): [*READING, *WRITING],
    ("code:read", "code:write"): [*READING, *WRITING],
    ("code:read", "work_items:read"): READING,
    ("work_items:read",): [],
    ("code:admin",): [],
    ("CODE:WRITE",): [],
    (): [],
}


@dataclass(frozen=True)
class Situation:
    """What is so of token, account and address, and what comes of it; None: the scope decides."""

    token: dict[str, Any]
    account: dict[str, Any]
    address: Address | None
    code: Code | None


LIMITED = {"addresses": (IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8::/32"))}
SITUATIONS = {
    "active": Situation({}, {}, OUTSIDE, None),
    "active to the last": Situation({"expires_at": NOW + timedelta(microseconds=1)}, {}, OUTSIDE, None),
    "active from now on": Situation({"not_before": NOW}, {}, OUTSIDE, None),
    "from inside": Situation(LIMITED, {}, INSIDE, None),
    "from inside, IPv6": Situation(LIMITED, {}, IPv6Address("2001:db8::1"), None),
    "from a socket, no limit": Situation({}, {}, None, None),
    "expired": Situation({"expires_at": NOW}, {}, INSIDE, Code.TOKEN_EXPIRED),
    "revoked": Situation({"revoked_at": NOW}, {}, INSIDE, Code.TOKEN_REVOKED),
    "revoked and expired": Situation(
        {"revoked_at": NOW - HOUR, "expires_at": NOW - HOUR}, {}, INSIDE, Code.TOKEN_REVOKED
    ),
    "pending": Situation({"not_before": NOW + HOUR}, {}, INSIDE, Code.TOKEN_NOT_YET_VALID),
    "disabled": Situation({}, {"disabled_at": NOW}, INSIDE, Code.ACCOUNT_DISABLED),
    "disabled later": Situation({}, {"disabled_at": NOW + HOUR}, INSIDE, Code.ACCOUNT_DISABLED),
    "from outside": Situation(LIMITED, {}, OUTSIDE, Code.ADDRESS_DENIED),
    "from outside, IPv6": Situation(LIMITED, {}, IPv6Address("2001:db9::1"), Code.ADDRESS_DENIED),
    "from a socket, limit": Situation(LIMITED, {}, None, Code.ADDRESS_DENIED),
    "from nowhere": Situation({"addresses": ()}, {}, INSIDE, Code.ADDRESS_DENIED),
    # the order: the token's own end, its owner, the address, the scope
    "expired, owner disabled": Situation(
        {"expires_at": NOW}, {"disabled_at": NOW}, INSIDE, Code.TOKEN_EXPIRED
    ),
    "expired, from outside": Situation(LIMITED | {"expires_at": NOW}, {}, OUTSIDE, Code.TOKEN_EXPIRED),
    "revoked, all wrong": Situation(
        LIMITED | {"revoked_at": NOW, "not_before": NOW + HOUR},
        {"disabled_at": NOW},
        OUTSIDE,
        Code.TOKEN_REVOKED,
    ),
    "disabled, from outside": Situation(LIMITED, {"disabled_at": NOW}, OUTSIDE, Code.ACCOUNT_DISABLED),
}


def attempt(name: str, scopes: tuple[str, ...], situation: Situation) -> Attempt:
    token = a_token(scopes=frozenset(scopes), **situation.token)
    return Attempt(OPERATIONS[name], token, an_account(**situation.account), situation.address, NOW)


@pytest.mark.parametrize(("scopes", "situation"), [*product(PERMITTED, SITUATIONS)])
def test_the_whole_matrix(scopes: tuple[str, ...], situation: str) -> None:
    for name in OPERATIONS:
        refusal = decide(attempt(name, scopes, SITUATIONS[situation]))
        by_scope = None if name in PERMITTED[scopes] else Code.SCOPE_MISSING
        assert (refusal and refusal.code) == (SITUATIONS[situation].code or by_scope), name


@pytest.mark.parametrize("situation", SITUATIONS)
def test_whether_a_token_is_alive_does_not_depend_on_address_and_scope(situation: str) -> None:
    tried = attempt("push", (), SITUATIONS[situation])
    refusal = decide_alive(tried.token, tried.account, NOW)
    expected = SITUATIONS[situation].code
    assert (refusal and refusal.code) == (None if expected is Code.ADDRESS_DENIED else expected)


def refused(token: dict[str, Any], operation: Operation, **options: Any) -> Refusal:
    address = options.pop("address", OUTSIDE)
    account = options.pop("account", an_account())
    refusal = decide(Attempt(operation, a_token(**token), account, address, NOW), **options)
    assert refusal is not None
    return refusal


PUSH, DUMB = OPERATIONS["push"], OPERATIONS["dumb file"]


@pytest.mark.parametrize(
    ("token", "operation", "options", "sentence"),
    [
        (
            {"expires_at": NOW},
            PUSH,
            {},
            'The token "Laptop" (lusab-babad) expired on 2026-03-14 15:09 UTC.',
        ),
        (
            {"revoked_at": NOW},
            PUSH,
            {},
            'The token "Laptop" (lusab-babad) was revoked on 2026-03-14 15:09 UTC.',
        ),
        (
            {"revoked_at": NOW, "revoked_reason": "left on a {train}"},
            PUSH,
            {},
            'The token "Laptop" (lusab-babad) was revoked on 2026-03-14 15:09 UTC: left on a {train}.',
        ),
        (
            {"not_before": NOW + HOUR},
            PUSH,
            {},
            'The token "Laptop" (lusab-babad) is valid from 2026-03-14 16:09 UTC on.',
        ),
        (
            {},
            PUSH,
            {"account": an_account(disabled_at=NOW)},
            'The account alice, which owns the token "Laptop" (lusab-babad), is disabled.',
        ),
        (
            LIMITED,
            PUSH,
            {},
            'The token "Laptop" (lusab-babad) may not be used from the address 203.0.113.9.',
        ),
        (
            {"scopes": frozenset({"work_items:read", "code:read"})},
            PUSH,
            {},
            'The token "Laptop" (lusab-babad) has the scope code:read, work_items:read, but '
            "git-receive-pack needs code:write.",
        ),
        (
            {"scopes": frozenset({"work_items:read"})},
            DUMB,
            {},
            'The token "Laptop" (lusab-babad) has the scope work_items:read, but '
            "the dumb protocol needs code:read.",
        ),
    ],
)
def test_a_refusal_says_what_the_person_should_know(
    token: dict[str, Any], operation: Operation, options: dict[str, Any], sentence: str
) -> None:
    refusal = refused(token, operation, **options)
    assert refusal.sentence == sentence
    assert refusal.status == 401
    assert refusal.challenges


def test_the_status_for_a_missing_scope_can_be_chosen_and_no_other() -> None:
    missing = refused({}, PUSH, missing_scope_status=403)
    assert (missing.code, missing.status, missing.challenges) == (Code.SCOPE_MISSING, 403, False)
    assert refused({"expires_at": NOW}, PUSH, missing_scope_status=403).status == 401
    assert refused(LIMITED, PUSH, missing_scope_status=403).status == 401


# What is told of a decision

PUSH_TO_TEAM = operation_of("POST", "/team/app/git-receive-pack", "")


def a_rule(place: str, *repositories: str, allow: str = "code:write", refs: str = "") -> AccessRule:
    rules = tuple(map(ref_rule_of, refs.split())) or None
    return AccessRule(("alice",), RepositoryPatterns(repositories), allow, rules, place)


def told(checked: list[Check]) -> list[tuple[str, str, Code | None]]:
    return [(check.what, check.rule, check.refusal and check.refusal.code) for check in checked]


def attempt_with(*rules: AccessRule, **token: Any) -> Attempt:
    facts = {"scopes": frozenset({"code:write"})} | token
    return Attempt(PUSH_TO_TEAM, a_token(**facts), an_account(), INSIDE, NOW, rules)


def test_every_step_names_the_rule_by_which_it_went() -> None:
    parent = a_token(id="parent", scopes=frozenset({"code:write"}))
    rules = [a_rule("f:1", "other"), a_rule("f:2", "team/*", allow="code:read"), a_rule("f:3", "**")]
    token = {"repositories": ("team/**", "!team/secret"), "parent": parent} | LIMITED
    assert told([*checks(attempt_with(*rules, **token))]) == [
        ("life", "token lusab-babad, status", None),
        ("life", "token parent, status", None),
        ("account", "account alice, disabled_at", None),
        ("address", "token lusab-babad, addresses", None),
        ("scope code:write", "token lusab-babad, scopes", None),
        ("scope code:write", "token parent, scopes", None),
        ("repository team/app", "token lusab-babad, repositories: team/**", None),
        ("repository team/app for the account", "f:2", None),
        ("code:write for the account", "f:3", None),
    ]


@pytest.mark.parametrize(
    ("rules", "steps"),
    [
        ([], [("repository team/app for the account", "no rule", Code.REPOSITORY_NOT_FOUND)]),
        (
            [a_rule("f:1", "team/app", allow="code:read")],
            [
                ("repository team/app for the account", "f:1", None),
                ("code:write for the account", "f:1", Code.ACCESS_DENIED),
            ],
        ),
    ],
)
def test_what_the_account_may_not_names_its_rule(
    rules: list[AccessRule], steps: list[tuple[str, str, Code | None]]
) -> None:
    assert told([*checks(attempt_with(*rules))])[3:] == steps


def test_a_token_with_no_repositories_at_all_reaches_none() -> None:
    [refusal] = [check.refusal for check in checks(attempt_with(repositories=())) if check.refusal][:1]
    assert refusal.code is Code.REPOSITORY_NOT_FOUND


MAIN = "refs/heads/main"


@pytest.mark.parametrize(
    ("rules", "place", "is_refused"),
    [
        ([a_rule("f:1", "**")], "f:1, refs", False),
        ([a_rule("f:1", "**", refs=f"{MAIN}=update")], f"f:1, refs: {MAIN}=update", False),
        ([a_rule("f:1", "**", refs=f"{MAIN}=create")], f"f:1, refs: {MAIN}=create", True),
        ([a_rule("f:1", "**", refs="refs/tags/*")], "f:1, refs", True),
        # the one that gives it is named, wherever it stands
        (
            [a_rule("f:1", "**", refs=f"{MAIN}=none"), a_rule("f:2", "**", refs="**")],
            "f:2, refs: **=create,update",
            False,
        ),
        # those that are for others, or for reading, have no say
        ([a_rule("f:1", "other"), a_rule("f:2", "**", allow="code:read")], "no rule", True),
    ],
)
def test_a_refs_step_names_the_rule(rules: list[AccessRule], place: str, is_refused: bool) -> None:
    code = Code.REF_DENIED if is_refused else None
    assert told([*ref_checks(attempt_with(*rules), MAIN, Verb.UPDATE)]) == [
        (f"update {MAIN}", place, code)
    ]


def test_a_refused_ref_says_who_may_not_what() -> None:
    refs = (ref_rule_of("refs/heads/agent/**"),)
    parent = a_token(name="ci", refs=(ref_rule_of(f"{MAIN}=none"),), scopes=frozenset({"code:write"}))
    found = ref_checks(attempt_with(refs=refs, parent=parent), MAIN, Verb.FORCE)
    assert [check.refusal and check.refusal.sentence for check in found] == [
        f'token "Laptop" may not force {MAIN}.',
        f'token "ci" may not force {MAIN}.',
        f"account alice may not force {MAIN}.",
    ]


REFS = (ref_rule_of("**"),)


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (Attempt(PUSH_TO_TEAM, a_token(), an_account(), None, NOW), False),
        (attempt_with(a_rule("f:1", "**")), False),
        (attempt_with(a_rule("f:1", "**"), refs=REFS), True),
        (attempt_with(a_rule("f:1", "**"), parent=a_token(refs=REFS)), True),
        (attempt_with(a_rule("f:1", "**", refs="**")), True),
        (attempt_with(a_rule("f:1", "**", refs="**"), a_rule("f:2", "team/*")), False),
        (attempt_with(a_rule("f:1", "**", refs="**"), a_rule("f:2", "other")), True),
        (attempt_with(a_rule("f:1", "**", allow="code:read")), True),
    ],
)
def test_whether_anything_limits_the_refs(attempt: Attempt, expected: bool) -> None:
    assert limits_refs(attempt) == expected


def test_a_lineage_goes_from_the_token_up() -> None:
    middle = a_token(id="b", parent=a_token(id="c"))
    assert [token.id for token in lineage(a_token(id="a", parent=middle))] == ["a", "b", "c"]


def permitted() -> Attempt:
    rules = (AccessRule(("*",), RepositoryPatterns(("**",)), "code:read", None, "x:1"),)
    operation = OPERATIONS["fetch"]
    attempt = Attempt(operation, a_token(scopes={"code:read"}), an_account(), INSIDE, NOW, rules)
    assert decide(attempt) is None
    return attempt


def test_a_permit_covers_what_is_the_very_same() -> None:
    attempt = permitted()
    permit = Permit.of(attempt)
    assert permit.covers(attempt)
    assert permit.covers(attempt._replace(now=NOW + 1000 * HOUR))
    assert attempt.rules
    for other in [
        attempt._replace(now=NOW - timedelta(microseconds=1)),
        attempt._replace(token=replace(attempt.token)),
        attempt._replace(account=replace(attempt.account)),
        attempt._replace(operation=replace(attempt.operation)),
        attempt._replace(address=IPv4Address("192.0.2.7")),
        attempt._replace(rules=(replace(attempt.rules[0]),)),
        attempt._replace(rules=None),
    ]:
        assert not permit.covers(other), other


MOMENT = st.integers(-3, 3).map(lambda hours: NOW + hours * HOUR)


@given(
    st.lists(st.tuples(MOMENT | st.none(), MOMENT | st.none()), min_size=1, max_size=3), MOMENT, MOMENT
)
def test_what_a_permit_covers_would_be_permitted(
    limits: list[tuple[datetime | None, datetime | None]], earlier: datetime, later: datetime
) -> None:
    """Whenever one of the tokens begins or ends, derived from one another."""
    token = None
    for not_before, expires_at in limits:
        token = a_token(scopes={"code:read"}, not_before=not_before, expires_at=expires_at, parent=token)
    assert token
    attempt = permitted()._replace(token=token, now=earlier)
    again = attempt._replace(now=later)
    if decide(attempt) is None and Permit.of(attempt).covers(again):
        assert decide(again) is None
