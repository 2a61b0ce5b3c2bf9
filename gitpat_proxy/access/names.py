"""What accounts and tokens may be called, and what of any text may be shown as it is."""

import re
import unicodedata

_ACCOUNT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_LONGEST_TEXT = 100
_LONGEST_SHOWN = 250


def is_account_name(name: str) -> bool:
    """Tell whether an account may be called so."""
    return _ACCOUNT_NAME.fullmatch(name) is not None


def checked_account_name(name: str) -> str:
    """Return the name; raise ValueError with a sentence if it can't be an account's."""
    if not is_account_name(name):
        raise ValueError(
            f"{name!r} can't be an account's name; accepted: 1 to 64 of A-Z a-z 0-9 . _ @ + -, "
            "the first a letter or a digit"
        )
    return name


def checked_text(text: str, what: str) -> str:
    """Return a name or reason without space around it.

    Raises ValueError with a sentence if it is empty, too long, or has a character that a terminal
    or a browser would act on: git shows these texts to people as they are.
    """
    text = text.strip()
    if not 1 <= len(text) <= _LONGEST_TEXT:
        raise ValueError(f"{what} has 1 to {_LONGEST_TEXT} characters")
    if any(unicodedata.category(character) in _UNSAFE for character in text):
        raise ValueError(f"{what} may have no line breaks and no control or invisible characters")
    return text


def printable(text: str) -> str:
    """Return the text with what a terminal would act on, or hide, written as an escape."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _UNSAFE
        else character
        for character in text
    )


def shown(text: str) -> str:
    """Return the beginning of a text that somebody else chose, to be told to people as it is."""
    text = printable(text)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


# Controls, formats (such as right-to-left overrides), surrogates, line and paragraph separators.
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
