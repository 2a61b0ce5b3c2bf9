"""Ids of tokens: short enough to be read out, no order in them, no secret."""

import secrets

_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aiou"


def make_id() -> str:
    """Return 32 random bits as two proquints, pronounceable words of five letters.

    After Wilkerson, "A Proposal for Proquints" (arXiv:0901.4016).
    """
    return "-".join(_word(secrets.randbits(16)) for _ in range(2))


def _word(number: int) -> str:
    return "".join(
        letters[number >> shift & len(letters) - 1]
        for letters, shift in [
            (_CONSONANTS, 12),
            (_VOWELS, 10),
            (_CONSONANTS, 6),
            (_VOWELS, 4),
            (_CONSONANTS, 0),
        ]
    )
