"""What a person may choose as a password."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.password import LONGEST, SHORTEST, checked_password, normalized_password

COMPOSED, DECOMPOSED = "é", "e\u0301"
# Of as many characters as any that one is made from.
FOUR = unicodedata.normalize("NFD", "ᾂ")


@pytest.mark.parametrize(
    "text",
    [
        "abcdefgh1x",
        "x" * 255 + "y",
        "correct horse battery staple",
        "ten spaces and   more",
        " leading and trailing ",
        "Ölüm Ğüzél ß",
        "🗝🗝🗝🗝🗝🗝🗝🗝🗝🔒",
        "ab" * 5,
        COMPOSED * 9 + "a",
    ],
)
def test_what_can_be_a_password_is_taken_as_it_is(text: str) -> None:
    assert checked_password(text) == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "a password has 10 to 256 characters"),
        ("abcdefgh1", "a password has 10 to 256 characters"),
        ("x" * 256 + "y", "a password has 10 to 256 characters"),
        ("x" * 1_000_000 + "y", "a password has 10 to 256 characters"),
        # nine characters, however they are typed
        (DECOMPOSED * 8 + "a", "a password has 10 to 256 characters"),
        *[
            (f"correct {character} horse", "a password may have no control characters")
            for character in "\0\t\n\r\x1b\x7f\x85\udcff"
        ],
        *[
            (text, "this password is among the most common ones")
            for text in [
                "1234567890",
                "1qaz2wsx3edc",
                "basketball",
                "BASKETBALL",
                "university",
                "aaaaaaaaaa",
                " " * 10,
            ]
        ],
    ],
)
def test_what_can_not_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        checked_password(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("part", [DECOMPOSED, FOUR])
def test_an_accent_may_be_typed_apart_from_its_letter(part: str) -> None:
    letter = unicodedata.normalize("NFC", part)
    assert len(letter) == 1
    typed, same = "a" + part * (LONGEST - 1), "a" + letter * (LONGEST - 1)
    assert checked_password(typed) == checked_password(same) == same
    assert normalized_password(typed) == normalized_password(same) == same


@given(st.text(max_size=300) | st.text("aé\u0301\u0345\u0300\u0313\u03b1\u1f82", max_size=1100))
def test_what_is_taken_is_what_the_same_typing_gives_at_a_sign_in(text: str) -> None:
    try:
        password = checked_password(text)
    except ValueError as error:
        whole = unicodedata.normalize("NFC", text)
        if SHORTEST <= len(whole) <= LONGEST:
            common = "most common" in str(error)
            assert common or {unicodedata.category(c) for c in whole} & {"Cc", "Cs"}
        return
    assert SHORTEST <= len(password) <= LONGEST
    assert password == normalized_password(text) == unicodedata.normalize("NFC", text)
    assert normalized_password(password) == password


def test_what_is_far_too_long_is_not_looked_at_as_a_whole() -> None:
    """Sorting many accents behind one letter takes the square of their number."""
    text = "a" + "\u0301\u0316" * 10_000
    assert LONGEST < len(normalized_password(text)) <= 4 * LONGEST + 1
