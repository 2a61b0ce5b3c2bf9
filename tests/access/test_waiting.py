"""How long somebody waits who failed to sign in."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.waiting import (
    FORGOTTEN_AFTER,
    FREE_FAILURES,
    LONGEST_WAIT,
    LONGEST_WAIT_OF_ACCOUNT,
    waits_until,
)
from tests.access.examples import NOW

FAILURES = st.integers(0, 10**12)
LONGEST = st.timedeltas(timedelta(0), timedelta(days=1))


@pytest.mark.parametrize(
    ("failures", "seconds", "seconds_of_account"),
    [
        *[(failures, 0, 0) for failures in range(-1, 5)],
        (5, 2, 2),
        (6, 4, 4),
        (7, 8, 8),
        (8, 16, 16),
        (9, 32, 30),
        (10, 64, 30),
        (13, 512, 30),
        (14, 900, 30),
        (100, 900, 30),
        (10**9, 900, 30),
    ],
)
def test_each_failure_doubles_the_wait_up_to_a_bound(
    failures: int, seconds: int, seconds_of_account: int
) -> None:
    assert waits_until(failures, NOW, LONGEST_WAIT) == NOW + timedelta(seconds=seconds)
    of_account = waits_until(failures, NOW, LONGEST_WAIT_OF_ACCOUNT)
    assert of_account == NOW + timedelta(seconds=seconds_of_account)


@given(FAILURES, FAILURES, LONGEST)
def test_more_failures_never_shorten_a_wait_nor_does_any_pass_the_bound(
    fewer: int, more: int, longest: timedelta
) -> None:
    fewer, more = sorted([fewer, more])
    waits = [waits_until(number, NOW, longest) - NOW for number in (fewer, more)]
    assert timedelta(0) <= waits[0] <= waits[1] <= longest
    assert (waits[1] == timedelta(0)) == (more < FREE_FAILURES or longest == timedelta(0))


def test_a_stranger_holds_somebody_up_for_half_a_minute_at_most() -> None:
    assert timedelta(seconds=30) == LONGEST_WAIT_OF_ACCOUNT < LONGEST_WAIT < FORGOTTEN_AFTER
