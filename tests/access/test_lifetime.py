"""From what people type to a moment in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.lifetime import ACCEPTED, duration_of, expiry_of, lifetime_of, moment_of
from tests.access.examples import NOW

DAY = timedelta(days=1)
YEAR = 365 * DAY


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90d", 90 * DAY),
        ("180d", 180 * DAY),
        ("365d", YEAR),
        ("1d", DAY),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("2w", 14 * DAY),
        ("007d", 7 * DAY),
        ("999999m", timedelta(minutes=999999)),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    assert duration_of(text) == lifetime_of(text) == duration
    assert moment_of(text, NOW) == NOW + duration


NO_DURATIONS = ["", "d", "90", "0d", "00h", "-1d", "+1d", "1.5d", "1 d", " 1d", "1d ", "1D", "1y", "1s"]


@pytest.mark.parametrize("text", [*NO_DURATIONS, "1d1h", "1d\n", "٣d", "1000000d", "forever", "never "])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration; accepted: 90d"):
        duration_of(text)
    with pytest.raises(ValueError, match="no duration"):
        lifetime_of(text)


def test_never_is_a_lifetime_without_end() -> None:
    assert lifetime_of("never") is None
    assert expiry_of("never", NOW, None) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-31", datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC)),
        ("2028-02-29", datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC)),
        ("2027-01-31T12:00:00Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31T12:00:00+02:00", datetime(2027, 1, 31, 10, tzinfo=UTC)),
        ("2027-01-31T12:00:00-11:30", datetime(2027, 1, 31, 23, 30, tzinfo=UTC)),
        ("2027-01-31T12:00:00", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31 12:00", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("9999-12-31", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        # whole seconds: what is shown is what holds
        ("2027-01-31T12:00:00.987654Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    found = moment_of(text, NOW)
    assert found == moment
    assert found.utcoffset() == timedelta()


NO_MOMENTS = [
    *[*NO_DURATIONS, "tomorrow", "2027-13-01", "2027-02-29", "2027-1-31", "31.01.2027", "999999w"],
    *["2027-01-31T25:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2027-01-31T"],
]


@pytest.mark.parametrize("text", NO_MOMENTS)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="no time that can be used") as caught:
        moment_of(text, NOW)
    assert str(caught.value).startswith(repr(text))
    assert str(caught.value).endswith(f"accepted: {ACCEPTED}")


@pytest.mark.parametrize(
    ("text", "longest", "expires_at"),
    [
        ("90d", YEAR, NOW + 90 * DAY),
        ("365d", YEAR, NOW + YEAR),
        ("8760h", YEAR, NOW + YEAR),
        ("2027-03-14T15:09:26Z", YEAR, NOW + YEAR),
        ("2027-03-14", YEAR, datetime(2027, 3, 14, 23, 59, 59, tzinfo=UTC)),
        ("2026-03-14", YEAR, datetime(2026, 3, 14, 23, 59, 59, tzinfo=UTC)),
        ("2026-03-14T15:09:27Z", YEAR, NOW + timedelta(seconds=1)),
        ("9999-12-31", None, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("90d", timedelta(days=365 * 9999), NOW + 90 * DAY),
    ],
)
def test_an_expiry_within_the_limits(
    text: str, longest: timedelta | None, expires_at: datetime | None
) -> None:
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
        ("2h", timedelta(minutes=90), "2h is too long; the longest lifetime is 90m"),
        ("never", YEAR, "tokens without end are off here; the longest lifetime is 365d"),
        ("2026-03-14T15:09:26Z", YEAR, f"2026-03-14T15:09:26Z has passed already; accepted: {ACCEPTED}"),
        ("2026-03-13", None, f"2026-03-13 has passed already; accepted: {ACCEPTED}"),
        ("1999-01-01", YEAR, f"1999-01-01 has passed already; accepted: {ACCEPTED}"),
    ],
)
def test_an_expiry_beyond_them(text: str, longest: timedelta | None, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        expiry_of(text, NOW, longest)
    assert str(caught.value) == sentence


def test_now_may_have_any_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert expiry_of("90d", elsewhere, YEAR) == NOW + 90 * DAY


@given(st.one_of(st.text(), st.from_regex(r"[0-9]{1,6}[mhdw]|[0-9]{4}-?W?[0-9]{2}-?[0-9:TZ+-]{0,9}")))
def test_any_text_is_a_time_or_a_sentence(text: str) -> None:
    for longest in (None, YEAR):
        try:
            expires_at = expiry_of(text, NOW, longest)
        except ValueError:
            continue
        assert expires_at is None or expires_at > NOW
        assert longest is None or expires_at < NOW + longest + DAY
