"""Whether a push may change its refs so: what the commands are, and what is made of the decisions."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.patterns import RepositoryPatterns
from gitpat_proxy.access.policy import Attempt
from gitpat_proxy.access.push import Problem, RefDecision, Verdict, decide_ref, verdict_of
from gitpat_proxy.access.refs import ref_rule_of
from gitpat_proxy.access.refusal import Code
from gitpat_proxy.access.rules import AccessRule
from gitpat_proxy.git.operation import operation_of
from gitpat_proxy.git.pktline import pkt_line
from gitpat_proxy.git.push import PushObserver, RefUpdate
from tests.access.examples import NOW, a_token, an_account
from tests.git.cuts import CUTS, cut

A, B, NONE = "a1" * 20, "b2" * 20, "0" * 40
PUSH = operation_of("POST", "/app/git-receive-pack", "")
CREATE, UPDATE, DELETE, NOTHING = (NONE, B), (A, B), (A, NONE), (NONE, NONE)


def an_attempt(*rules: str, **changes: Any) -> Attempt:
    token = a_token(name="ci", scopes=frozenset({"code:write"}), refs=tuple(map(ref_rule_of, rules)))
    return Attempt(PUSH, token, an_account(), None, NOW)._replace(**changes)


def branches_alone(ref: bytes, only_forward: bool) -> Problem | None:
    """As a folder of repositories: refs/heads/alias is symbolic."""
    if ref == b"refs/heads/alias":
        return Problem("on disk", "it is another")
    return Problem("git", "not told") if only_forward and not ref.startswith(b"refs/heads/") else None


def decided(attempt: Attempt, ref: str, change: tuple[str, str]) -> RefDecision:
    return decide_ref(attempt, branches_alone, RefUpdate(ref.encode(), *change))


RULES = ["refs/heads/main=update", "refs/heads/f=force", "refs/tags/v*=create,delete", "refs/notes/*"]


@pytest.mark.parametrize(
    ("ref", "change", "expected"),
    [
        ("refs/heads/main", UPDATE, "forward"),
        ("refs/heads/main", CREATE, 'token "ci" may not create refs/heads/main.'),
        ("refs/heads/main", DELETE, 'token "ci" may not delete refs/heads/main.'),
        ("refs/heads/f", UPDATE, "free"),
        ("refs/heads/f", CREATE, 'token "ci" may not create refs/heads/f.'),
        ("refs/tags/v1", CREATE, "free"),
        ("refs/tags/v1", DELETE, "free"),
        ("refs/tags/v1", UPDATE, 'token "ci" may not update refs/tags/v1.'),
        ("refs/tags/x", CREATE, 'token "ci" may not create refs/tags/x.'),
        ("refs/notes/c", CREATE, "free"),
        ("refs/notes/c", UPDATE, 'token "ci" may not force refs/notes/c: not told.'),
        ("refs/heads/other", UPDATE, 'token "ci" may not update refs/heads/other.'),
    ],
)
def test_each_command_is_decided_by_its_verb(ref: str, change: tuple[str, str], expected: str) -> None:
    decision = decided(an_attempt(*RULES), ref, change)
    if decision.refusal:
        assert (decision.refusal.code, decision.refusal.sentence) == (Code.REF_DENIED, expected)
    else:
        assert expected == ("forward" if decision.only_forward else "free")


@pytest.mark.parametrize("ref", ["HEAD", "refs/heads/../x", "refs/heads/x.lock", "", "refs/heads/a\nb"])
def test_what_is_no_name_of_a_ref_is_refused_whatever_the_rules(ref: str) -> None:
    refusal = decided(an_attempt("**=create,update,force,delete"), ref, UPDATE).refusal
    assert refusal is not None
    assert refusal.code is Code.REF_MALFORMED
    assert refusal.sentence.isprintable()


def test_a_command_that_changes_nothing_into_nothing_is_refused() -> None:
    refusal = decided(an_attempt("**=create,update,force,delete"), "refs/heads/x", NOTHING).refusal
    assert refusal is not None
    assert refusal.code is Code.REF_MALFORMED


@pytest.mark.parametrize("change", [CREATE, UPDATE, DELETE])
def test_what_stands_for_another_ref_is_refused_whatever_the_rules(change: tuple[str, str]) -> None:
    refusal = decided(an_attempt("**=create,update,force,delete"), "refs/heads/alias", change).refusal
    assert refusal is not None
    assert refusal.sentence.endswith("refs/heads/alias: it is another.")


def test_an_update_is_free_if_token_and_account_both_may_force() -> None:
    def rules(refs: str) -> tuple[AccessRule, ...]:
        given = (ref_rule_of(refs),)
        return (
            AccessRule(("alice",), RepositoryPatterns(["app"]), "code:write", given, "access.yaml:1"),
        )

    forcing = an_attempt("refs/heads/*=force", rules=rules("refs/heads/*=update"))
    assert decided(forcing, "refs/heads/x", UPDATE) == RefDecision(None, only_forward=True)
    forcing = forcing._replace(rules=rules("refs/heads/*=force"))
    assert decided(forcing, "refs/heads/x", UPDATE) == RefDecision(None)


@pytest.mark.parametrize(
    ("ref", "change", "check", "rule"),
    [
        (
            "refs/tags/v1",
            UPDATE,
            "update refs/tags/v1",
            "token lusab-babad, refs: refs/tags/v*=create,delete",
        ),
        ("refs/notes/c", UPDATE, "force refs/notes/c", "git"),
        ("refs/heads/x.lock", UPDATE, "update 'refs/heads/x.lock'", "git"),
        ("refs/heads/x", NOTHING, "change 'refs/heads/x'", "git"),
        ("refs/heads/alias", CREATE, "create refs/heads/alias", "on disk"),
    ],
)
def test_a_refusal_has_the_step_that_it_comes_from(
    ref: str, change: tuple[str, str], check: str, rule: str
) -> None:
    refusal = decided(an_attempt(*RULES, "refs/heads/alias"), ref, change).refusal
    assert refusal is not None
    assert (refusal.check, refusal.rule) == (check, rule)


def verdict(attempt: Attempt, updates: Sequence[RefUpdate]) -> Verdict:
    return verdict_of(updates, [decide_ref(attempt, branches_alone, update) for update in updates])


MAIN, TOPIC = RefUpdate(b"refs/heads/main", A, B), RefUpdate(b"refs/heads/topic", A, B)
FORCED = RefUpdate(b"refs/heads/f", A, B)


def test_one_ref_that_is_refused_refuses_them_all() -> None:
    found = verdict(an_attempt(*RULES), [MAIN, TOPIC, FORCED, RefUpdate(b"refs/tags/x", NONE, B)])
    assert found.refusal is not None
    assert found.refusal.sentence == 'token "ci" may not update refs/heads/topic.'
    assert found.reasons == [
        "not pushed because of refs/heads/topic",
        'token "ci" may not update refs/heads/topic',
        "not pushed because of refs/heads/topic",
        'token "ci" may not create refs/tags/x',
    ]


def test_a_long_name_is_told_once_and_cut() -> None:
    long = RefUpdate(b"refs/heads/" + b"x" * 60_000, A, B)
    found = verdict(an_attempt(*RULES), [long, *[MAIN] * 1000])
    assert found.refusal is not None
    assert found.refusal.sentence.startswith('token "ci" may not update refs/heads/xxx')
    assert max(map(len, [found.refusal.sentence, *found.reasons])) < 400


def test_a_name_that_a_terminal_would_act_on_is_told_as_an_escape() -> None:
    found = verdict(an_attempt(*RULES), [RefUpdate(b"refs/\x1b[31m\n", A, B), MAIN])
    assert found.reasons[1] == r"not pushed because of refs/\x1b[31m\n"


@pytest.mark.parametrize(
    ("updates", "only_forward"), [([], False), ([FORCED], False), ([MAIN], True), ([FORCED, MAIN], True)]
)
def test_one_ref_that_may_not_be_forced_protects_them_all(
    updates: list[RefUpdate], only_forward: bool
) -> None:
    assert verdict(an_attempt(*RULES), updates) == Verdict(None, [], only_forward)


COMMAND = st.sampled_from(
    [
        *[
            f"{old} {new} {ref}"
            for old, new in (CREATE, UPDATE, DELETE)
            for ref in ("refs/heads/main", "x")
        ],
        *[f"{A} {B} refs/heads/topic", f"shallow {A}", "garbage", f"{A} {B}"],
    ]
)


def read(body: bytes, cuts: list[int]) -> tuple[bool, bool, Verdict]:
    observer = PushObserver("")
    for piece in cut(body, cuts):
        observer.asked(piece)
        if observer.is_list_over:
            break
    return observer.is_list_over, observer.is_list_clear, verdict(an_attempt(*RULES), observer.updates)


@given(st.lists(COMMAND, max_size=5), st.sampled_from([b"0000", b"0001", b"0003", b""]), CUTS)
def test_however_a_push_is_cut_the_same_is_decided(
    commands: list[str], end: bytes, cuts: list[int]
) -> None:
    body = b"".join(pkt_line(line.encode()) for line in commands) + end + b"PACK"
    assert read(body, cuts) == read(body, [])
