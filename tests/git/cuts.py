"""Bytes that arrive in pieces."""

from itertools import pairwise

from hypothesis import strategies as st

CUTS = st.lists(st.integers(0, 400), max_size=8).map(sorted)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut at these places, which need not be different, nor all in the data."""
    return [data[start:end] for start, end in pairwise([0, *places, max(len(data), 400)])]
