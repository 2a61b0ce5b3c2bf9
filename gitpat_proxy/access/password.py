"""What a person may choose as a password (NIST SP 800-63B, section 5.1.1.2)."""

import unicodedata

SHORTEST = 10
LONGEST = 256
_MOST_PARTS = 4
"""Of so many characters, at most, normalizing makes one (Unicode Standard Annex 15)."""


def normalized_password(text: str) -> str:
    """Return the one form of what may be typed in several: an accent as a part of its letter or not.

    What is too long stays too long, but of that no more is looked at than it takes to see that:
    normalizing many accents takes the square of their time.
    """
    return unicodedata.normalize("NFC", text[: LONGEST * _MOST_PARTS + 1])


def checked_password(text: str) -> str:
    """Return a new password, normalized; raise ValueError with a sentence if it can't be one.

    No rules of composition: they make passwords worse. The most common ones are what is tried first.
    """
    password = normalized_password(text)
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(f"a password has {SHORTEST} to {LONGEST} characters")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in password):
        raise ValueError("a password may have no control characters")
    if len(set(password)) == 1 or password.casefold() in _common():
        raise ValueError(
            "this password is among the most common ones, which are tried first; take another"
        )
    return password


def _common() -> frozenset[str]:
    # Some megabytes, for a moment that is rare.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415 - see above

    # What is common as a password and more so as a word or a name is in that list only.
    return frozenset().union(*FREQUENCY_LISTS.values())
