"""A token as a page shows it."""

from datetime import timedelta

import pytest

from gitpat_proxy.web.pages.rows import token_row
from tests.access.examples import NOW, a_token

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("own", [None, NOW + 1000 * HOUR])
def test_a_derived_token_ends_on_its_page_when_its_line_does(own: object) -> None:
    token = a_token(expires_at=own, parent=a_token(expires_at=NOW + HOUR))
    row = token_row(token, (), NOW, own=True)
    assert (row.expires_at, row.expires_soon) == (NOW + HOUR, True)
