"""Ids of tokens."""

import re

from gitpat_proxy.access.identifier import make_id

SYLLABLES = "[bdfghjklmnprstvz][aiou][bdfghjklmnprstvz][aiou][bdfghjklmnprstvz]"


def test_an_id_is_two_pronounceable_words() -> None:
    assert all(re.fullmatch(f"{SYLLABLES}-{SYLLABLES}", make_id()) for _ in range(200))


def test_ids_use_all_their_bits() -> None:
    """2,000 of 32 random bits: two alike would come once in 2,000 runs, a lost bit would show."""
    ids = [make_id() for _ in range(2000)]
    assert len(set(ids)) >= 1999
    for position in (0, 2, 4, 6, 8, 10):
        assert len({text[position] for text in ids}) == 16
    for position in (1, 3, 7, 9):
        assert len({text[position] for text in ids}) == 4
