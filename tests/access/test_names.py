"""What accounts and tokens may be called."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.names import checked_account_name, checked_text, printable

LONGEST_TEXT = 100


@pytest.mark.parametrize("name", ["a", "Alice", "0", "ci-bot_1", "ada@example.org", "a+b", "a" * 64])
def test_what_an_account_may_be_called(name: str) -> None:
    assert checked_account_name(name) == name


NO_NAMES = [
    *["", " ", "-a", ".a", "_a", "@a", "a b", "a ", "a\n", "a/b", "a:b", "a\0", "a\u202eb", "a" * 65],
    *["../x", "a\\b", "a%b", "<a>", "ü", "٣"],
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_it_may_not_be_called(name: str) -> None:
    with pytest.raises(ValueError, match="can't be an account's name; accepted: 1 to 64 of") as caught:
        checked_account_name(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x", "x"),
        ("Laptop", "Laptop"),
        ("  Laptop \n", "Laptop"),
        ("My laptop, at home", "My laptop, at home"),
        ("größe 日本語 🗝", "größe 日本語 🗝"),
        ("{braces} %s <b>&amp;", "{braces} %s <b>&amp;"),
        ("x" * LONGEST_TEXT, "x" * LONGEST_TEXT),
        (" " + "x" * LONGEST_TEXT + " ", "x" * LONGEST_TEXT),
        ("é" * LONGEST_TEXT, "é" * LONGEST_TEXT),
    ],
)
def test_what_a_token_may_be_called(text: str, kept: str) -> None:
    assert checked_text(text, "a name") == kept


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\u2003", "x" * (LONGEST_TEXT + 1)])
def test_a_text_is_neither_empty_nor_too_long(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a reason has 1 to 100 characters$"):
        checked_text(text, "a reason")


UNSAFE = [
    *["\0", "\a", "\b", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\x9b"],  # terminals act on them
    *["\u202a", "\u202e", "\u2066", "\u2069", "\u200e", "\u061c"],  # direction
    *["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\U000e0041"],  # invisible
    *["\u2028", "\u2029", "\ud800", "\udfff"],
]


@pytest.mark.parametrize("character", UNSAFE)
def test_a_text_has_nothing_that_a_terminal_or_browser_acts_on(character: str) -> None:
    with pytest.raises(ValueError, match=r"^a name may have no line breaks and no control or invisible"):
        checked_text(f"a{character}b", "a name")


@given(st.text(st.characters(), max_size=LONGEST_TEXT + 2))
def test_any_text_is_kept_visible_or_refused(text: str) -> None:
    try:
        kept = checked_text(text, "a name")
    except ValueError:
        return
    assert kept == text.strip()
    assert not {"Cc", "Cf", "Cs", "Zl", "Zp"} & {unicodedata.category(c) for c in kept}
    kept.encode()


@given(st.text(max_size=70) | st.text("aZ0._@+-é\n", max_size=70))
def test_any_name_is_an_account_s_or_refused_in_a_sentence_that_can_be_shown(name: str) -> None:
    try:
        kept = checked_account_name(name)
    except ValueError as error:
        assert str(error).isprintable()  # noqa: PT017 - whatever is refused
        return
    assert kept == name
    assert re.fullmatch(r"(?!-)[\w.@+-]{1,64}", name, re.ASCII)


@given(st.text(st.characters(), max_size=20))
def test_what_is_made_printable_is_harmless_and_what_is_harmless_stays(text: str) -> None:
    shown = printable(text)
    assert not {"Cc", "Cf", "Cs", "Zl", "Zp"} & {unicodedata.category(c) for c in shown}
    assert printable(shown) == shown
    assert shown == text or "\\" in shown
