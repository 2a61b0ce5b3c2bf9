"""Entity tags, and the word that the end is near."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.model import Token
from gitpat_proxy.access.representation import ending_text
from gitpat_proxy.web.api.entity import etag_of, has_match

NOW = datetime(2026, 11, 25, tzinfo=UTC)
TOKEN = Token("fakon-lapag", "alice", NOW, "gpat_…abcd", "Laptop", frozenset({"code:read"}))
TAG = etag_of(TOKEN)


def test_the_tag_is_another_when_the_token_is_changed_and_not_when_it_is_used() -> None:
    assert etag_of(replace(TOKEN, last_used_at=NOW, last_used_from="192.0.2.1")) == TAG
    for change in ({"name": "x"}, {"expires_at": NOW}, {"revoked_at": NOW}, {"hint": "gpat_…efgh"}):
        assert etag_of(replace(TOKEN, **change)) != TAG


@pytest.mark.parametrize(
    ("header", "strong", "weak"),
    [
        (TAG, True, True),
        (f'"a" , {TAG}', True, True),
        ("*", True, True),
        (f"W/{TAG}", False, True),
        ('"a"', False, False),
        (TAG.strip('"'), False, False),
        (f'{TAG}"', False, False),
        ("", False, False),
        (",", False, False),
    ],
)
def test_which_headers_name_the_token(header: str, strong: bool, weak: bool) -> None:
    assert has_match(header, TOKEN, weak=False) is strong
    assert has_match(header, TOKEN, weak=True) is weak


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (None, None),
        (timedelta(days=30, seconds=1), None),
        (timedelta(days=30), "2026-12-25T00:00:00Z"),
        (timedelta(seconds=1), "2026-11-25T00:00:01Z"),
    ],
)
def test_the_end_is_told_in_its_last_thirty_days(left: timedelta | None, told: str | None) -> None:
    token = replace(TOKEN, expires_at=NOW + left if left else None)
    assert ending_text(token, NOW) == told
    later = NOW + timedelta(days=31)
    child = replace(TOKEN, expires_at=later, parent=replace(TOKEN, expires_at=later, parent=token))
    assert ending_text(child, NOW) == told


TAGS = st.lists(
    st.sampled_from([TAG, f"W/{TAG}", TAG.strip('"'), '"', ",", " ", "*", '"a"', "W/"])
    | st.text(max_size=3),
    max_size=5,
).map("".join)


@given(TAGS)
def test_any_header_names_the_token_or_does_not(header: str) -> None:
    """What names it strongly names it weakly; nothing does without its tag, but the star."""
    strong, weak = (has_match(header, TOKEN, weak=weak) for weak in (False, True))
    assert weak or not strong
    assert not weak or TAG in header or header.strip() == "*"
    assert has_match(f"{header},{TAG}", TOKEN, weak=False)
