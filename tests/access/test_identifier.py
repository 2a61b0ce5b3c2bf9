"""Ids of tokens."""

import re
import secrets

import pytest

from gitpat_proxy.access.identifier import make_id

SYLLABLES = "[bdfghjklmnprstvz][aiou][bdfghjklmnprstvz][aiou][bdfghjklmnprstvz]"


def test_an_id_is_two_pronounceable_words() -> None:
    assert all(re.fullmatch(f"{SYLLABLES}-{SYLLABLES}", make_id()) for _ in range(200))


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ([0x7F00, 0x0001], "lusab-babad"),
        ([0x3F54, 0xDCC1], "gutih-tugad"),
        ([0x0000, 0xFFFF], "babab-zuzuz"),
    ],
)
def test_the_words_are_proquints(monkeypatch: pytest.MonkeyPatch, bits: list[int], text: str) -> None:
    """The first two are examples of the proposal: 127.0.0.1 and 63.84.220.193."""
    left = iter(bits)
    monkeypatch.setattr(secrets, "randbits", lambda _number: next(left))
    assert make_id() == text


def test_ids_use_all_their_bits() -> None:
    """2,000 of 32 random bits: two alike would come once in 2,000 runs, a lost bit would show."""
    ids = [make_id() for _ in range(2000)]
    assert len(set(ids)) >= 1999
    for position in (0, 2, 4, 6, 8, 10):
        assert len({text[position] for text in ids}) == 16
    for position in (1, 3, 7, 9):
        assert len({text[position] for text in ids}) == 4
