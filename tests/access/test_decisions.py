"""The decision, held against a table written by hand; and that to narrow anything never permits more."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.model import Token
from gitpat_proxy.access.patterns import RepositoryPatterns
from gitpat_proxy.access.policy import Attempt, Check, checks, decide, limits_refs, ref_checks
from gitpat_proxy.access.refs import RefRule, Verb
from gitpat_proxy.access.refusal import Code
from gitpat_proxy.access.rules import AccessRule
from gitpat_proxy.git.operation import operation_of
from tests.access.decisions import RULES, Row, rows
from tests.access.examples import NOW, a_token, an_account

ROWS = rows()


def all_checks(row: Row) -> Iterator[Check]:
    attempt = row.attempt
    return chain(checks(attempt), ref_checks(attempt, row.ref, row.verb) if row.verb else ())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.text)
def test_a_row_of_the_table(row: Row) -> None:
    refusals = [check.refusal for check in all_checks(row) if check.refusal]
    assert (refusals[0].code if refusals else None) == row.code


def test_the_table_is_large_and_has_all_of_it() -> None:
    assert len({row.text for row in ROWS}) == len(ROWS) >= 200
    assert {row.rules for row in ROWS} == {"none", *RULES}
    assert {row.code for row in ROWS} == {
        None,
        *[Code.TOKEN_EXPIRED, Code.TOKEN_REVOKED, Code.TOKEN_NOT_YET_VALID, Code.ACCOUNT_DISABLED],
        *[Code.ADDRESS_DENIED, Code.SCOPE_MISSING, Code.REPOSITORY_NOT_FOUND, Code.ACCESS_DENIED],
        Code.REF_DENIED,
    }


@pytest.mark.parametrize("row", [row for row in ROWS if row.verb], ids=lambda row: row.text)
def test_a_push_whose_refs_nothing_limits_is_refused_none(row: Row) -> None:
    """Where `limits_refs` says no, nobody looks at the refs."""
    if row.code == Code.REF_DENIED:
        assert limits_refs(row.attempt)


# What narrows, and what is narrowed. Small, so that patterns and names meet often.

REPOSITORY = st.sampled_from(["a", "b", "t/a", "t/b", "t/u/a"])
REPOSITORY_PATTERN = st.sampled_from(["**", "*", "t/*", "t/**", "a", "t/a", "**/a", "t/b"])
REF = st.sampled_from(["refs/heads/a", "refs/heads/b", "refs/heads/x/a", "refs/tags/a"])
REF_PATTERN = st.sampled_from(["**", "refs/heads/*", "refs/heads/**", "refs/heads/a", "refs/tags/*"])
VERBS = st.frozensets(st.sampled_from(Verb))
REF_RULE = st.builds(RefRule, REF_PATTERN, VERBS)
REF_RULES = st.none() | st.lists(REF_RULE, max_size=3).map(tuple)
PATTERNS = st.builds(
    lambda including, excluding: (*including, *(f"!{text}" for text in excluding)),
    st.lists(REPOSITORY_PATTERN, min_size=1, max_size=2),
    st.lists(REPOSITORY_PATTERN, max_size=1),
)
SCOPES = st.frozensets(st.sampled_from(["code:read", "code:write", "work_items:read"]))
TOKEN = st.builds(a_token, scopes=SCOPES, repositories=st.none() | PATTERNS, refs=REF_RULES)
LINEAGE = st.builds(lambda token, parent: replace(token, parent=parent), TOKEN, st.none() | TOKEN)
ALLOW = st.sampled_from(["code:read", "code:write"])
RULE = st.builds(
    AccessRule, st.just(("*",)), PATTERNS.map(RepositoryPatterns), ALLOW, REF_RULES, st.just("x:1")
)
ACCOUNT_RULES = st.none() | st.lists(RULE, max_size=3).map(tuple)
SERVICE = st.sampled_from(["git-upload-pack", "git-receive-pack"])


@st.composite
def narrower_patterns(draw: st.DrawFn, texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if texts is None:
        return draw(st.none() | PATTERNS)
    including = [text for text in texts if not text.startswith("!")]
    kept = including[draw(st.integers(0, len(including) - 1)) :]
    return (*kept, *(text for text in texts if text not in including), f"!{draw(REPOSITORY_PATTERN)}")


@st.composite
def narrower_refs(draw: st.DrawFn, rules: tuple[RefRule, ...] | None) -> tuple[RefRule, ...] | None:
    """Take verbs away, let a denial come first, leave out rules from the end."""
    if rules is None:
        return draw(REF_RULES)
    kept = rules[: draw(st.integers(0, len(rules)))]
    fewer = [RefRule(rule.pattern, rule.verbs & draw(VERBS)) for rule in kept]
    denials = [RefRule(pattern, frozenset()) for pattern in draw(st.lists(REF_PATTERN, max_size=1))]
    return (*denials, *fewer)


@st.composite
def narrower_token(draw: st.DrawFn, token: Token) -> Token:
    """A narrower token of the same line, or one derived from it, however wide."""
    if draw(st.booleans()):
        return replace(draw(TOKEN), parent=token)
    return replace(
        token,
        scopes=token.scopes & draw(SCOPES),
        repositories=draw(narrower_patterns(token.repositories)),
        refs=draw(narrower_refs(token.refs)),
    )


@st.composite
def narrower_rules(
    draw: st.DrawFn, rules: tuple[AccessRule, ...] | None
) -> tuple[AccessRule, ...] | None:
    if rules is None:
        return draw(ACCOUNT_RULES)
    kept = [rule for rule in rules if draw(st.booleans())]
    return tuple(
        replace(
            rule,
            repositories=RepositoryPatterns(draw(narrower_patterns(rule.repositories.texts)) or ()),
            allow="code:read" if draw(st.booleans()) else rule.allow,
            refs=draw(narrower_refs(rule.refs)),
        )
        for rule in kept
    )


@st.composite
def wide_and_narrow(draw: st.DrawFn) -> tuple[Attempt, Attempt]:
    operation = operation_of("GET", f"/{draw(REPOSITORY)}/info/refs", f"service={draw(SERVICE)}")
    wide = Attempt(operation, draw(LINEAGE), an_account(), None, NOW, draw(ACCOUNT_RULES))
    narrow = wide._replace(
        token=draw(narrower_token(wide.token)), rules=draw(narrower_rules(wide.rules))
    )
    return wide, narrow


@given(wide_and_narrow())
def test_to_narrow_never_permits_more(attempts: tuple[Attempt, Attempt]) -> None:
    wide, narrow = attempts
    assert decide(narrow) or not decide(wide)


@given(wide_and_narrow(), REF, st.sampled_from(Verb))
def test_to_narrow_never_permits_more_for_a_ref(
    attempts: tuple[Attempt, Attempt], ref: str, verb: Verb
) -> None:
    def permits(attempt: Attempt) -> bool:
        found = chain(checks(attempt), ref_checks(attempt, ref, verb))
        return not any(check.refusal for check in found)

    wide, narrow = attempts
    assert permits(wide) or not permits(narrow)


@given(wide_and_narrow(), REF, st.sampled_from(Verb))
def test_where_nothing_limits_refs_none_is_refused(
    attempts: tuple[Attempt, Attempt], ref: str, verb: Verb
) -> None:
    for attempt in attempts:
        is_refused = any(check.refusal for check in ref_checks(attempt, ref, verb))
        assert limits_refs(attempt) or not is_refused
