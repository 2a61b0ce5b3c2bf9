"""From what people type to a moment in UTC."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.lifetime import beginning_of, duration_of, expiry_of, lifetime_of
from tests.access.examples import NOW

DAY = timedelta(days=1)
YEAR = "365d"
ACCEPTED = "accepted: 90d, 12h, 30m, a date (2027-01-31), a time (2027-01-31T12:00:00Z) or"


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90d", 90 * DAY),
        ("180d", 180 * DAY),
        ("365d", 365 * DAY),
        ("1d", DAY),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("2w", 14 * DAY),
        ("007d", 7 * DAY),
        ("99999m", timedelta(minutes=99999)),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    assert duration_of(text) == lifetime_of(text) == duration
    assert beginning_of(text, NOW) == expiry_of(text, NOW, "never") == NOW + duration


NO_DURATIONS = ["", "d", "90", "0d", "00h", "-1d", "+1d", "1.5d", "1 d", " 1d", "1d ", "1D", "1y", "1s"]


@pytest.mark.parametrize("text", [*NO_DURATIONS, "1d1h", "1d\n", "٣d", "100000d", "forever", "never "])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"no duration; accepted: a number of m \(minutes\), h .* w \(weeks\), as 90d"
    ):
        duration_of(text)
    with pytest.raises(ValueError, match="no duration"):
        lifetime_of(text)


def test_never_is_a_lifetime_without_end() -> None:
    assert lifetime_of("never") is None
    assert expiry_of("never", NOW, "never") is None
    assert beginning_of("any", NOW) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-31T12:00:00Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31T12:00:00+02:00", datetime(2027, 1, 31, 10, tzinfo=UTC)),
        ("2027-01-31T12:00:00-11:30", datetime(2027, 1, 31, 23, 30, tzinfo=UTC)),
        ("2027-01-31T12:00:00", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31 12:00", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        # whole seconds: what is shown is what holds
        ("2027-01-31T12:00:00.987654Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_a_time_means_itself_in_utc(text: str, moment: datetime) -> None:
    for found in (beginning_of(text, NOW), expiry_of(text, NOW, "never")):
        assert found == moment
        assert found.utcoffset() == timedelta()


@pytest.mark.parametrize("day", [date(2027, 1, 31), date(2028, 2, 29), date(9999, 12, 31)])
def test_a_date_means_the_whole_day_in_utc(day: date) -> None:
    begins, ends = beginning_of(str(day), NOW), expiry_of(str(day), NOW, "never")
    assert begins == datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert ends == datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)


def test_a_beginning_may_have_passed_and_may_be_far() -> None:
    assert beginning_of("1999-01-01", NOW) == datetime(1999, 1, 1, tzinfo=UTC)


NO_MOMENTS = [
    *[*NO_DURATIONS, "tomorrow", "2027-13-01", "2027-02-29", "2027-1-31", "31.01.2027", "999999w"],
    *["2027-01-31T25:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2027-01-31T"],
]


@pytest.mark.parametrize("text", NO_MOMENTS)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="no time that can be used") as caught:
        beginning_of(text, NOW)
    assert str(caught.value) == f"{text!r} is no time that can be used; {ACCEPTED} any"
    with pytest.raises(ValueError, match="no time that can be used") as caught:
        expiry_of(text, NOW, "never")
    assert str(caught.value) == f"{text!r} is no time that can be used; {ACCEPTED} never"


@pytest.mark.parametrize(
    ("text", "longest", "expires_at"),
    [
        ("90d", YEAR, NOW + 90 * DAY),
        ("365d", YEAR, NOW + 365 * DAY),
        ("8760h", YEAR, NOW + 365 * DAY),
        ("2027-03-14T15:09:26Z", YEAR, NOW + 365 * DAY),
        ("2027-03-14", YEAR, NOW + 365 * DAY),
        ("2026-03-14", "1h", NOW + timedelta(hours=1)),
        ("2026-03-14", YEAR, datetime(2026, 3, 14, 23, 59, 59, tzinfo=UTC)),
        ("2026-03-14T15:09:27Z", YEAR, NOW + timedelta(seconds=1)),
        ("9999-12-31", "never", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("90d", "99999w", NOW + 90 * DAY),
    ],
)
def test_an_expiry_within_the_limits(text: str, longest: str, expires_at: datetime) -> None:
    assert expiry_of(text, NOW, longest) == expires_at


@pytest.mark.parametrize(
    ("text", "longest", "sentence"),
    [
        ("366d", YEAR, "366d is too long; the longest lifetime is 365d"),
        ("8761h", YEAR, "8761h is too long; the longest lifetime is 365d"),
        ("2027-03-14T15:09:27Z", YEAR, "2027-03-14T15:09:27Z is too long; the longest lifetime is 365d"),
        ("2027-03-15", YEAR, "2027-03-15 is too long; the longest lifetime is 365d"),
        ("20270315", YEAR, "20270315 is too long; the longest lifetime is 365d"),
        # a week's date has as many characters as a day's, and is none
        ("2027-W11-1", YEAR, "2027-W11-1 is too long; the longest lifetime is 365d"),
        ("2h", "90m", "2h is too long; the longest lifetime is 90m"),
        ("never", YEAR, "tokens without end are off here; the longest lifetime is 365d"),
        ("2026-03-14T15:09:26Z", YEAR, f"2026-03-14T15:09:26Z has passed already; {ACCEPTED} never"),
        ("2026-03-13", "never", f"2026-03-13 has passed already; {ACCEPTED} never"),
        ("1999-01-01", YEAR, f"1999-01-01 has passed already; {ACCEPTED} never"),
    ],
)
def test_an_expiry_beyond_them(text: str, longest: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        expiry_of(text, NOW, longest)
    assert str(caught.value) == sentence


def test_now_may_have_any_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert expiry_of("90d", elsewhere, YEAR) == NOW + 90 * DAY


@given(st.one_of(st.text(), st.from_regex(r"[0-9]{1,6}[mhdw]|[0-9]{4}-?W?[0-9]{2}-?[0-9:TZ+-]{0,9}")))
def test_any_text_is_a_time_or_a_sentence(text: str) -> None:
    with suppress(ValueError):
        beginning_of(text, NOW)
    for longest in ("never", YEAR):
        try:
            expires_at = expiry_of(text, NOW, longest)
        except ValueError:
            continue
        assert expires_at is None or expires_at > NOW
        assert longest == "never" or expires_at < NOW + 366 * DAY


@given(
    st.integers(1, 99_999), st.sampled_from([("m", 1), ("h", 60), ("d", 24 * 60), ("w", 7 * 24 * 60)])
)
def test_every_number_of_a_unit_is_a_duration(number: int, unit: tuple[str, int]) -> None:
    name, minutes = unit
    assert duration_of(f"{number}{name}") == timedelta(minutes=number * minutes)
    with suppress(ValueError):
        assert beginning_of(f"{number}{name}", NOW) == NOW + timedelta(minutes=number * minutes)


ZONES = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours, minutes=30)))


@given(st.datetimes(NOW.replace(tzinfo=None) + DAY, datetime(9998, 1, 1), timezones=ZONES))  # noqa: DTZ001
def test_a_time_with_any_offset_is_that_moment(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    assert expiry_of(moment.isoformat(), NOW, "never") == beginning_of(moment.isoformat(), NOW) == moment
