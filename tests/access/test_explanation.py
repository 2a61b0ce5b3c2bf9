"""The steps of a decision, told: they are those of the decision itself, and end as it does."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from gitpat_proxy.access.explanation import Explanation, explain, explanation_object, verdict
from gitpat_proxy.access.model import Token
from gitpat_proxy.access.patterns import RepositoryPatterns
from gitpat_proxy.access.policy import Attempt, checks, decide, limits_refs
from gitpat_proxy.access.push import Problem, decide_ref
from gitpat_proxy.access.refs import Verb, ref_rule_of, verb_of
from gitpat_proxy.access.refusal import Code
from gitpat_proxy.access.rules import AccessRule
from gitpat_proxy.backends.ref_problems import no_problem
from gitpat_proxy.git.operation import operation_of
from gitpat_proxy.git.push import RefUpdate
from tests.access.examples import NOW, a_token, an_account

CLONE = operation_of("GET", "/team/app/info/refs", "service=git-upload-pack")
PUSH = operation_of("GET", "/team/app/info/refs", "service=git-receive-pack")
NETWORK, INSIDE = IPv4Network("192.0.2.0/24"), IPv4Address("192.0.2.7")
WRITES = frozenset({"code:write"})
MAIN = "refs/heads/main"


def rule(place: str, *repositories: str, allow: str = "code:write", refs: Any = None) -> AccessRule:
    ref_rules = None if refs is None else tuple(map(ref_rule_of, refs))
    return AccessRule(("alice",), RepositoryPatterns(repositories), allow, ref_rules, place)


def attempt(**changes: Any) -> Attempt:
    """Return alice's push with a token that may do it, but for what is given."""
    facts = {
        "operation": PUSH,
        "token": a_token(scopes=WRITES),
        "account": an_account(),
        "address": INSIDE,
        "now": NOW,
    }
    return Attempt(**facts | changes)


ATTEMPTS = {
    "permitted": attempt(),
    "scope": attempt(token=a_token()),
    "expired": attempt(token=a_token(scopes=WRITES, expires_at=NOW)),
    "expired, scope": attempt(token=a_token(expires_at=NOW)),
    "owner": attempt(account=an_account(disabled_at=NOW)),
    "address": attempt(token=a_token(scopes=WRITES, addresses=(IPv4Network("10.0.0.0/8"),))),
    "repository": attempt(token=a_token(scopes=WRITES, repositories=("other/*", "!team/**"))),
    "parent": attempt(token=a_token(scopes=WRITES, parent=a_token(id="babab-babab"))),
    "account's reach": attempt(rules=(rule("access.yaml:3", "other/*"),)),
    "account's scope": attempt(rules=(rule("access.yaml:3", "team/*", allow="code:read"),)),
    "no rule": attempt(rules=()),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_the_steps_are_those_of_the_decision(name: str) -> None:
    asked = ATTEMPTS[name]
    explanation = explain(asked, 403, no_problem)
    assert list(explanation.checks) == list(checks(asked, 403))
    assert explanation.refusal == decide(asked, 403)
    assert (explanation.refusal is None) == (name == "permitted")


def test_what_refused_is_told_with_the_rule() -> None:
    refusals = {name: explain(asked, 401, no_problem).refusal for name, asked in ATTEMPTS.items()}
    rules = {name: refusal.rule for name, refusal in refusals.items() if refusal}
    assert rules == {
        "scope": "token lusab-babad, scopes",
        "expired": "token lusab-babad, status",
        "expired, scope": "token lusab-babad, status",
        "owner": "account alice, disabled_at",
        "address": "token lusab-babad, addresses",
        "repository": "token lusab-babad, repositories: !team/**",
        "parent": "token babab-babab, scopes",
        "account's reach": "no rule",
        "account's scope": "access.yaml:3",
        "no rule": "no rule",
    }
    assert refusals["scope"] is not None
    assert refusals["scope"].check == "scope code:write"


def of_refs(token: Token, *changes: tuple[str, Verb], any_ref: bool = False) -> Explanation:
    explanation = explain(attempt(token=token), 401, no_problem, changes)
    return replace(explanation, any_ref=any_ref)


LIMITED = a_token(scopes=WRITES, refs=(ref_rule_of(f"{MAIN}=update"), ref_rule_of("refs/tags/**")))
EVERY_WAY = [(MAIN, verb) for verb in Verb]


def test_each_way_to_change_a_ref_has_its_rule() -> None:
    explanation = of_refs(LIMITED, *EVERY_WAY, any_ref=True)
    may = {each.verb.value: each.refusal is None for each in explanation.refs}
    assert may == {"create": False, "update": True, "force": False, "delete": False}
    assert {check.rule for each in explanation.refs for check in each.checks} == {
        f"token lusab-babad, refs: {MAIN}=update"
    }
    assert explanation.refusal is None
    but = "but not create or force or delete"
    assert verdict(explanation) == f"Permitted: it may update {MAIN}, {but}."


def test_where_no_way_is_open_the_first_tells_why() -> None:
    changes = [("refs/notes/x", verb) for verb in Verb]
    explanation = of_refs(LIMITED, *changes, any_ref=True)
    assert verdict(explanation) == 'Refused: token "Laptop" may not create refs/notes/x.'
    assert explanation_object(explanation)["code"] == "ref_denied"


def test_of_a_push_every_ref_must_be_permitted() -> None:
    both = of_refs(LIMITED, (MAIN, Verb.UPDATE), ("refs/notes/x", Verb.CREATE))
    assert verdict(both) == 'Refused: token "Laptop" may not create refs/notes/x.'
    assert verdict(of_refs(LIMITED, (MAIN, Verb.UPDATE))) == "Permitted."


def test_an_account_rule_for_refs_is_told_by_its_place() -> None:
    rules = (rule("access.yaml:7", "team/*", refs=[f"{MAIN}=update"]),)
    explanation = explain(attempt(rules=rules), 401, no_problem, [(MAIN, Verb.FORCE)])
    [check] = explanation.refs[0].checks
    assert check.rule == f"access.yaml:7, refs: {MAIN}=update"
    assert verdict(explanation) == f"Refused: account alice may not force {MAIN}."


def no_fast_forward(_ref: bytes, only_forward: bool) -> Problem | None:
    return Problem("routes: /, upstream_protects_history", "not told") if only_forward else None


@pytest.mark.parametrize("ref", [MAIN, "refs/tags/v1", "refs/notes/x", "refs/heads/x.lock"])
@pytest.mark.parametrize("change", [("0" * 40, "1" * 40), ("1" * 40, "2" * 40), ("1" * 40, "0" * 40)])
@pytest.mark.parametrize("token", [LIMITED, a_token(scopes=WRITES)])
def test_the_steps_for_a_ref_are_those_of_the_decision(
    ref: str, change: tuple[str, str], token: Token
) -> None:
    asked = attempt(token=token)
    [found] = explain(asked, 401, no_fast_forward, [(ref, verb_of(*change))]).refs
    decision = decide_ref(asked, no_fast_forward, RefUpdate(ref.encode(), *change))
    assert found.refusal == (decision.refusal if limits_refs(asked) else None)


def test_what_can_not_be_held_to_rules_where_it_lies_is_told() -> None:
    token = replace(LIMITED, refs=(ref_rule_of(f"{MAIN}=create,update"),))
    changes = [(MAIN, verb) for verb in Verb]
    found = explain(attempt(token=token), 401, no_fast_forward, changes)
    assert [each.refusal is None for each in found.refs] == [True, False, False, False]
    sentence = f'token "Laptop" may not force {MAIN}: not told.'
    refusal = found.refs[1].refusal
    assert refusal is not None
    assert (refusal.sentence, refusal.rule) == (sentence, "routes: /, upstream_protects_history")


def test_a_ref_that_is_no_text_is_looked_at_by_its_bytes() -> None:
    changes = [("refs/tags/caf\\xe9", Verb.CREATE)]
    assert explain(attempt(token=LIMITED), 401, no_fast_forward, changes).refusal is None


def test_a_change_of_nothing_into_nothing_is_left_to_git_where_refs_are_not_limited() -> None:
    [found] = explain(attempt(), 401, no_problem, [(MAIN, None)]).refs
    assert found.checks == ()
    [found] = explain(attempt(token=LIMITED), 401, no_problem, [(MAIN, None)]).refs
    assert found.refusal is not None
    assert found.refusal.code is Code.REF_MALFORMED


def test_refs_are_looked_at_only_for_a_push_that_is_permitted() -> None:
    assert of_refs(replace(LIMITED, scopes=frozenset()), *EVERY_WAY).refs == ()
    clone = attempt(operation=CLONE, token=LIMITED)
    assert explain(clone, 401, no_problem, EVERY_WAY).refs == ()


def test_without_an_address_none_is_looked_at() -> None:
    token = a_token(scopes=WRITES, addresses=(NETWORK,))
    asked = attempt(token=token, address=None)
    assert verdict(explain(asked, 401, no_problem)).startswith("Refused: ")
    explanation = explain(asked, 401, no_problem, any_address=True)
    assert explanation.refusal is None
    assert "address" not in [check.what for check in explanation.checks]
    assert explanation.notes == ("the token is limited to some addresses, and none was asked about",)
    assert explain(attempt(address=None), 401, no_problem, any_address=True).notes == ()


def test_limits_on_refs_are_mentioned_where_no_ref_was_asked_about() -> None:
    assert of_refs(LIMITED).notes == ("which refs may be changed is limited, and none was asked about",)
    assert of_refs(LIMITED, (MAIN, Verb.UPDATE)).notes == ()
    assert explain(attempt(operation=CLONE, token=LIMITED), 401, no_problem).notes == ()


def test_an_explanation_as_json() -> None:
    token = replace(LIMITED, addresses=(NETWORK,))
    explanation = of_refs(token, (MAIN, Verb.DELETE))
    refused = {
        "permitted": False,
        "code": "ref_denied",
        "sentence": f'token "Laptop" may not delete {MAIN}.',
    }
    fine = {"permitted": True, "code": None, "sentence": None}
    field = "token lusab-babad, "
    assert explanation_object(explanation) == {
        "asked": {
            "token": "lusab-babad",
            "account": "alice",
            "repository": "team/app",
            "service": "git-receive-pack",
            "address": "192.0.2.7",
            "at": "2026-03-14T15:09:26Z",
        },
        **refused,
        "status": 200,
        "checks": [
            {"check": "life", "rule": f"{field}status", **fine},
            {"check": "account", "rule": "account alice, disabled_at", **fine},
            {"check": "address", "rule": f"{field}addresses", **fine},
            {"check": "scope code:write", "rule": f"{field}scopes", **fine},
        ],
        "refs": [
            {
                "ref": MAIN,
                "verb": "delete",
                **refused,
                "checks": [
                    {"check": f"delete {MAIN}", "rule": f"{field}refs: {MAIN}=update", **refused}
                ],
            }
        ],
        "notes": [],
    }
