"""Who sends a request to the pages, as far as the request alone tells."""

from unittest.mock import Mock

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gitpat_proxy.config.model import Config
from gitpat_proxy.web.visitor import Visitors

CONFIG = Config.model_validate({"routes": [], "public_url": "https://git.example.org"})
NAME = "__Host-gitpat-device"


def device_in(cookies: list[str]) -> str | None:
    """Return what the browser's own cookie holds."""
    request = make_mocked_request("GET", "/", CIMultiDict([("Cookie", value) for value in cookies]))
    return Visitors(CONFIG, Mock(), Mock()).stranger(request).visit.device


@pytest.mark.parametrize(
    ("cookies", "value"),
    [
        ([f"{NAME}=abc"], "abc"),
        ([f"a=b; {NAME}=abc;c=d"], "abc"),
        (["a=b", f"{NAME}=a=b"], "a=b"),
        ([f"\t{NAME}=abc "], "abc"),
        ([], None),
        ([f"{NAME}="], None),
        ([NAME], None),
        (["gitpat-device=abc"], None),
        ([f"{NAME}=abc; {NAME}=abc"], None),
        ([f"{NAME}=abc", f"{NAME}=def"], None),
        ([f"{NAME} =abc"], None),
        ([f"x={NAME}=abc"], None),
        ([f'x="; {NAME}=abc"'], 'abc"'),
        ([f"\u00a0{NAME}=abc"], None),
        ([f"{NAME.lower()}=abc"], None),
    ],
)
def test_a_cookie_is_read_as_browsers_write_it(cookies: list[str], value: str | None) -> None:
    assert device_in(cookies) == value


OTHERS = st.lists(
    st.lists(
        st.sampled_from(["a", "=", '"', " ", ",", "\\", "\u00a0", "\x0b"]) | st.text(max_size=3),
        max_size=5,
    )
    .map("".join)
    .filter(lambda pair: ";" not in pair),
    max_size=4,
)


@given(
    OTHERS,
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=";"), min_size=1),
    OTHERS,
)
def test_whatever_a_neighbouring_host_has_set_the_own_cookie_is_found(
    before: list[str], value: str, after: list[str]
) -> None:
    """And nothing in theirs is taken for it."""
    assert device_in(["; ".join([*before, f"{NAME}={value}", *after])]) == value
    assert device_in([*before, f"{NAME}={value}", "; ".join(after)]) == value
    assert device_in(["; ".join([*before, *after])]) is None


@given(st.lists(st.text('_Hostgipad-vce=;, \t"\u00a0', max_size=40) | st.text(), max_size=3))
def test_any_cookies_are_read(cookies: list[str]) -> None:
    value = device_in(cookies)
    assert value is None or f"{NAME}={value}" in ";".join(cookies)
