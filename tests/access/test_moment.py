"""Moments as numbers."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.moment import day_of, microseconds_of, moment_of
from gitpat_proxy.access.representation import time_text

ZONES = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours, minutes=30)))
# Not so near the ends of time that another zone has passed them.
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES)  # noqa: DTZ001
SECOND = timedelta(seconds=1)


@given(MOMENTS)
def test_a_moment_comes_back_from_its_number_and_from_its_text(moment: datetime) -> None:
    assert moment_of(microseconds_of(moment)) == moment
    assert moment_of(microseconds_of(moment)).tzinfo is UTC
    assert timedelta(0) <= moment - moment_of(0) - timedelta(days=day_of(moment)) < timedelta(days=1)
    text = time_text(moment)
    assert text
    assert text.endswith("Z")
    assert timedelta(0) <= moment - datetime.fromisoformat(text) < SECOND


@given(st.integers())
def test_any_number_is_a_moment_or_the_one_error(number: int) -> None:
    try:
        moment = moment_of(number)
    except OverflowError:
        return
    assert microseconds_of(moment) == number


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1970, 1, 2, tzinfo=UTC) - SECOND, 0),
        (datetime(1970, 1, 1, tzinfo=UTC) - SECOND, -1),
    ],
)
def test_the_first_day_is_number_0(moment: datetime, day: int) -> None:
    assert day_of(moment) == day
