"""Rules for refs: how they are written, and which one holds."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.refs import ALL_VERBS, RefRule, Verb, first_match, ref_rule_of, verb_of

CREATE, UPDATE, FORCE, DELETE = Verb

# text, pattern, verbs
RULES = [
    ("refs/heads/main", "refs/heads/main", {CREATE, UPDATE}),
    ("refs/heads/main=update", "refs/heads/main", {UPDATE}),
    ("refs/tags/v*=create", "refs/tags/v*", {CREATE}),
    ("refs/heads/**=create,update,force,delete", "refs/heads/**", ALL_VERBS),
    ("refs/heads/**=delete,create", "refs/heads/**", {CREATE, DELETE}),
    ("refs/heads/main=none", "refs/heads/main", set()),
    ("**", "**", {CREATE, UPDATE}),
    ("**/main=delete", "**/main", {DELETE}),
    # a push that may not be fast-forward may be it
    ("refs/heads/wip/*=force", "refs/heads/wip/*", {UPDATE, FORCE}),
    # a ref's name may have what separates
    ("refs/heads/a=b=delete", "refs/heads/a=b", {DELETE}),
    ("refs/heads/a,b", "refs/heads/a,b", {CREATE, UPDATE}),
]


@pytest.mark.parametrize(("text", "pattern", "verbs"), RULES)
def test_how_a_rule_is_written(text: str, pattern: str, verbs: set[Verb]) -> None:
    assert ref_rule_of(text) == RefRule(pattern, frozenset(verbs))


NO_REF = "is no full name of a ref; accepted: as refs/heads/main, or **"
NO_VERB = "is no verb for a ref; accepted: create, update, force, delete, none"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("main", f"'main' {NO_REF}"),
        ("", f"'' {NO_REF}"),
        ("*", f"'*' {NO_REF}"),
        ("heads/main=update", f"'heads/main' {NO_REF}"),
        ("HEAD", f"'HEAD' {NO_REF}"),
        ("!refs/heads/main", f"'!refs/heads/main' {NO_REF}"),
        ("refs/heads/main=", f"'' {NO_VERB}"),
        ("refs/heads/main=push", f"'push' {NO_VERB}"),
        ("refs/heads/main=update,", f"'' {NO_VERB}"),
        ("refs/heads/main=Update", f"'Update' {NO_VERB}"),
        ("refs/heads/main=none,update", f"'none' {NO_VERB}"),
        ("refs/heads/main=update, create", f"' create' {NO_VERB}"),
        ("refs/", "'refs/' matches nothing: no name has an empty segment, . or .."),
    ],
)
def test_what_is_no_rule(text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text follows
        ref_rule_of(text)
    assert str(caught.value) == sentence


@given(st.sampled_from([text for text, *_ in RULES]) | st.text())
def test_a_rule_is_read_as_it_is_written_or_is_none(text: str) -> None:
    with suppress(ValueError):
        rule = ref_rule_of(text)
        assert ref_rule_of(str(rule)) == rule


@pytest.mark.parametrize(
    ("ref", "holds"),
    [
        ("refs/heads/main", 0),
        ("refs/heads/mains", 2),
        ("refs/heads/main/x", 2),
        ("refs/heads/wip/a", 1),
        ("refs/heads/wip/a/b", 2),
        ("refs/tags/v1", None),
        ("refs/headsmain", None),
        ("refs/heads", None),
    ],
)
def test_the_first_that_matches_holds(ref: str, holds: int | None) -> None:
    texts = ("refs/heads/main=none", "refs/heads/wip/*=force", "refs/heads/**")
    rules = [ref_rule_of(text) for text in texts]
    assert first_match(rules, ref) == (None if holds is None else rules[holds])


@pytest.mark.parametrize("size", [40, 64])
def test_what_a_command_does(size: int) -> None:
    none, one, other = ("0" * size, "0a" * (size // 2), "b" * size)
    assert verb_of(none, one) is CREATE
    assert verb_of(one, other) is UPDATE
    assert verb_of(one, none) is DELETE
    assert verb_of(none, none) is None
