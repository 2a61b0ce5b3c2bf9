"""Patterns: what they match, what is none, and that nobody can keep us busy with one."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.patterns import Pattern, RepositoryPatterns, repository_patterns

# pattern, names that it matches, names that it doesn't
MATCHES = [
    ("team/app", ["team/app"], ["team", "team/app/x", "team/ap", "team/apps", "Team/app", "xteam/app"]),
    ("team/*", ["team/app", "team/a.b-c"], ["team", "team/app/x", "other/app", "steam/app"]),
    ("*", ["app"], ["team/app"]),
    ("**", ["app", "team/app", "a/b/c"], []),
    ("team/**", ["team/app", "team/a/b/c"], ["team", "teams/app", "other/team/app"]),
    ("**/app", ["app", "team/app", "a/b/app"], ["app/x", "team/apps"]),
    ("team/**/app", ["team/app", "team/a/app", "team/a/b/app"], ["team/app/x", "app", "team/xapp"]),
    ("a/**/b/**", ["a/b/c", "a/x/b/c", "a/b/b"], ["a/b", "a/c/d"]),
    ("**/**", ["a", "a/b"], []),
    ("app-*", ["app-", "app-one"], ["app", "app-one/two"]),
    ("*.wiki", ["app.wiki", ".wiki"], ["app-wiki", "app.wiki2"]),
    ("a*b*c", ["abc", "aXbXc", "abcbc"], ["ab", "acb", "aXc"]),
    ("a*a", ["aa", "aba"], ["a"]),
    ("v[0-9]?.+(x)|^$\\d", ["v[0-9]?.+(x)|^$\\d"], ["v1", "v0x"]),
    ("größe/*", ["größe/ü"], ["grosse/x"]),
    ("*/*\N{PILE OF POO}", ["a/b\N{PILE OF POO}"], ["a/b"]),
]


@pytest.mark.parametrize(("text", "name"), [(t, name) for t, names, _ in MATCHES for name in names])
def test_what_a_pattern_matches(text: str, name: str) -> None:
    assert Pattern(text).matches(name)


@pytest.mark.parametrize(("text", "name"), [(t, name) for t, _, names in MATCHES for name in names])
def test_what_it_does_not(text: str, name: str) -> None:
    assert not Pattern(text).matches(name)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "a pattern has 1 to 250 characters"),
        ("a" * 251, "a pattern has 1 to 250 characters"),
        *[
            (text, f"{text!r} matches nothing: no name has an empty segment, . or ..")
            for text in [
                "/a",
                "a/",
                "a//b",
                ".",
                "a/../b",
                "a\nb",
                "a\x1bb",
                "a\N{RIGHT-TO-LEFT OVERRIDE}",
            ]
        ],
        *[
            (
                text,
                f"{text!r} has ** beside other characters; it stands for whole segments, as in team/**",
            )
            for text in ["team**", "**x/a", "a/***", "a/x**y"]
        ],
    ],
)
def test_what_is_no_pattern(text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text follows
        Pattern(text)
    assert str(caught.value) == sentence


def test_a_name_of_very_many_segments_is_matched_by_nothing() -> None:
    assert Pattern("**").matches("/".join("a" * 100))
    assert not Pattern("**").matches("/".join("a" * 101))


def test_no_pattern_tries_everything_twice() -> None:
    """Each of these would not come to an end in a matcher that goes back."""
    assert not Pattern("*a" * 125).matches("a" * 2000 + "b")
    assert not Pattern("**/" * 80 + "b").matches("/".join("a" * 100))
    assert not Pattern("**/*a/" * 40 + "b").matches("/".join("a" * 100))


SEGMENT = st.text("ab*", min_size=1, max_size=4).filter(lambda text: "**" not in text)
PATTERN = st.lists(SEGMENT | st.just("**"), min_size=1, max_size=4).map("/".join)
NAME = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=5).map("/".join)


def matches_by_trying(segments: list[str], parts: list[str]) -> bool:
    """The same as the documentation says it, in a way that may take for ever."""
    if not segments or not parts:
        return not segments and not parts
    first, *rest = segments
    if first == "**":
        return any(
            matches_by_trying(rest, parts[count:]) for count in range(0 if rest else 1, len(parts) + 1)
        )
    return fits_by_trying(first, parts[0]) and matches_by_trying(rest, parts[1:])


def fits_by_trying(glob: str, text: str) -> bool:
    if not glob:
        return not text
    if glob[0] == "*":
        return fits_by_trying(glob[1:], text) or bool(text and fits_by_trying(glob, text[1:]))
    return text[:1] == glob[0] and fits_by_trying(glob[1:], text[1:])


@given(PATTERN, NAME)
def test_a_match_is_what_it_is_said_to_be(text: str, name: str) -> None:
    assert Pattern(text).matches(name) == matches_by_trying(text.split("/"), name.split("/"))


@given(st.text(), st.text())
def test_any_text_is_a_pattern_or_a_value_error(text: str, name: str) -> None:
    with suppress(ValueError):
        Pattern(text).matches(name)


# patterns, name, the one that decides
DECIDING = [
    (["team/**", "!team/secret"], "team/app", "team/**"),
    (["team/**", "!team/secret"], "team/secret", "!team/secret"),
    (["!team/secret", "team/**"], "team/secret", "!team/secret"),
    (["team/secret", "!team/**"], "team/secret", "!team/**"),
    (["team/*", "team/app"], "team/app", "team/*"),
    (["team/**", "!team/secret"], "other", None),
    (["!team/secret", "**"], "other", "**"),
    # one repository, whatever it is called by
    (["/team/app.git"], "team/app", "team/app"),
    (["team/*", "!team/secret.git"], "team/secret", "!team/secret"),
    (["team/*", "!/team/secret"], "team/secret", "!team/secret"),
    # for servers that take both for one
    (["**", "!team/secret"], "Team/SECRET", "!team/secret"),
    (["**", "!Team/**"], "team/app", "!Team/**"),
    (["team/app"], "Team/app", None),
]


@pytest.mark.parametrize(("texts", "name", "deciding"), DECIDING)
def test_an_exclusion_holds_whatever_its_place(
    texts: list[str], name: str, deciding: str | None
) -> None:
    patterns = RepositoryPatterns(texts)
    assert patterns.deciding(name) == deciding
    assert patterns.include(name) == (deciding is not None and not deciding.startswith("!"))


@pytest.mark.parametrize("texts", [[], ["!team/secret"], ["!a", "!b"]])
def test_something_is_included(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="nothing is included; include something, if need be all with"):
        RepositoryPatterns(texts)


@pytest.mark.parametrize("text", ["!", "/", ".git", "!.git", "a//b.git", "//a"])
def test_what_is_none_is_none_among_others(text: str) -> None:
    with pytest.raises(ValueError, match=r"1 to 250 characters|matches nothing"):
        RepositoryPatterns(["**", text])


def test_what_is_given_twice_is_there_once() -> None:
    assert repository_patterns(("a", "b", "/a.git", "a")).texts == ("a", "b")
