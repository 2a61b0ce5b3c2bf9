"""For whom a rule is: accounts, globs of them, and groups."""

import pytest

from gitpat_proxy.access.patterns import RepositoryPatterns
from gitpat_proxy.access.rules import AccessRule, AccessRules

GROUPS = {"developers": ("alice", "bob"), "agents": ("svc-*",), "alice": ("carol",)}


def a_rule(*who: str, allow: str = "code:read") -> AccessRule:
    return AccessRule(who, RepositoryPatterns(["**"]), allow, None, "access.yaml:1")


# who, the accounts for whom the rule is, and those for whom it is not
WHO = [
    (["bob"], ["bob"], ["bobby", "Bob", "alice"]),
    (["svc-*"], ["svc-ci", "svc-"], ["svc", "xsvc-ci"]),
    (["*"], ["alice", "svc-ci", "a@b.example"], []),
    (["developers"], ["alice", "bob"], ["carol", "svc-ci"]),
    (["agents", "carol"], ["svc-ci", "carol"], ["agents", "alice"]),
    (["developers", "agents"], ["bob", "svc-ci"], ["carol"]),
    # a group's name is the group's: an account of that name is no member, and no rule is for it
    (["developers"], [], ["developers"]),
    (["alice"], ["carol"], ["alice"]),
    (["alic*"], ["alice"], ["carol"]),
    (["nobody"], ["nobody"], ["alice"]),
]


@pytest.mark.parametrize(("who", "name"), [(who, name) for who, names, _ in WHO for name in names])
def test_for_whom_a_rule_is(who: list[str], name: str) -> None:
    rule = a_rule(*who)
    assert AccessRules((rule,), GROUPS).of_account(name) == (rule,)


@pytest.mark.parametrize(("who", "name"), [(who, name) for who, _, names in WHO for name in names])
def test_for_whom_it_is_not(who: list[str], name: str) -> None:
    assert AccessRules((a_rule(*who),), GROUPS).of_account(name) == ()


def test_the_rules_of_an_account_stand_in_their_order() -> None:
    rules = tuple(a_rule(who) for who in ("*", "bob", "carol", "developers"))
    assert AccessRules(rules, GROUPS).of_account("bob") == (rules[0], rules[1], rules[3])


def test_a_rule_to_write_gives_reading() -> None:
    assert a_rule("bob").gives == {"code:read"}
    assert a_rule("bob", allow="code:write").gives == {"code:read", "code:write"}


def test_strangers_are_names_of_nobody() -> None:
    rules = AccessRules((a_rule("developers", "dave", "bob"), a_rule("developpers", "b*")), GROUPS)
    assert rules.strangers(["alice", "bob"]) == ["svc-*", "carol", "dave", "developpers"]
