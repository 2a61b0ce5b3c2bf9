"""Does one pattern surely match all that another one does: only where that is sure is it said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.patterns import Pattern, are_apart, covers


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("team/app", "team/app"),
        ("**", "team/**/x"),
        ("team/**", "team/app"),
        ("team/**", "team/app/*"),
        ("team/**", "team/**/x"),
        ("team/*", "team/*"),
        ("team/*", "team/a*"),
        ("team/a*c", "team/ab*c"),
        ("*/app", "team/app"),
        ("**/app", "team/*/app"),
        ("team/**/app", "team/app"),
    ],
)
def test_what_is_surely_within(outer: str, inner: str) -> None:
    assert covers(outer, inner)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("team/app", "team/*"),
        ("team/*", "team/**"),
        ("*", "**"),
        ("team/**", "team"),
        ("team/**", "team*"),
        ("team/**", "te*/app"),
        ("team/**", "**"),
        ("team/a*", "team/*"),
        ("team/a*/**", "team/a/**"),  # it is, but that is not looked for
    ],
)
def test_what_is_not_surely_within(outer: str, inner: str) -> None:
    assert not covers(outer, inner)


segments = st.one_of(st.just("**"), st.text(alphabet="ab*", min_size=1, max_size=4)).filter(
    lambda segment: segment == "**" or "**" not in segment
)
patterns = st.lists(segments, min_size=1, max_size=4).map("/".join)
names = st.lists(st.text(alphabet="ab", min_size=1, max_size=3), min_size=1, max_size=5).map("/".join)


@given(patterns, patterns, st.lists(names, min_size=5, max_size=20))
def test_what_is_said_is_so(outer: str, inner: str, some: list[str]) -> None:
    matched = {name for name in some if Pattern(inner).matches(name)}
    also = {name for name in some if Pattern(outer).matches(name)}
    if covers(outer, inner):
        assert matched <= also
    if are_apart(outer, inner):
        assert not matched & also


@given(patterns, names)
def test_a_name_alone_is_judged_exactly(pattern: str, name: str) -> None:
    assert covers(pattern, name) == Pattern(pattern).matches(name)
    assert are_apart(pattern, name) == (not Pattern(pattern).matches(name))
    assert are_apart(name, pattern) == are_apart(pattern, name)


def test_patterns_that_may_meet_are_not_apart() -> None:
    assert not are_apart("team/*", "team/a*")
    assert not are_apart("a*", "*b")
    assert not are_apart("team/**", "team/app/**")
    assert are_apart("team/**", "other/**")
    assert are_apart("team/a*", "team/b*")
