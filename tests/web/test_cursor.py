"""Where a list goes on: what comes back is what was given out, or nothing."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.web.cursor import cursor_text, read_cursor, read_row_cursor

ZONES = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours, minutes=30)))
MOMENTS = st.datetimes(timezones=st.just(UTC)) | st.datetimes(timezones=ZONES).filter(
    lambda moment: 1 < moment.year < 9999
)
LIKE_A_CURSOR = st.builds(
    lambda number, space, row_id: cursor_text(
        datetime(1970, 1, 1, tzinfo=UTC), f"{number}{space}{row_id}"
    ),
    st.integers() | st.text("0123456789_+- ٣", max_size=30),
    st.sampled_from(["", " ", "  "]),
    st.integers() | st.text(max_size=9),
)


@given(MOMENTS, st.text(max_size=20).filter(lambda text: " " not in text), st.integers(0, 2**63 - 1))
def test_a_place_in_a_list_comes_back_as_it_was(at: datetime, name: str, row_id: int) -> None:
    assert read_cursor(cursor_text(at, name)) == (at, name)
    assert read_row_cursor(cursor_text(at, row_id)) == (at, row_id)


@given(st.text(max_size=30) | st.text("MTIzIDQ1Ng=-_", max_size=30) | LIKE_A_CURSOR)
def test_any_text_is_a_place_or_the_one_error(text: str) -> None:
    for read in (read_cursor, read_row_cursor):
        try:
            at, row_id = read(text)
        except ValueError:
            continue
        assert read(cursor_text(at, row_id)) == (at, row_id)


@pytest.mark.parametrize("row_id", ["-1", str(2**63), "1_0", "٣", "1.0", ""])
def test_what_no_row_has_as_its_id_is_no_place(row_id: str) -> None:
    with pytest.raises(ValueError, match="no cursor of this list"):
        read_row_cursor(cursor_text(datetime(2026, 1, 1, tzinfo=UTC), row_id))
