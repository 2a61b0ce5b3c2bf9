"""What a browser sends, and where it is sent on to."""

import asyncio
from unittest.mock import Mock
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
from aiohttp import streams
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.web.pages.forms import Form, FormError, own_page, read_form

FORM = "application/x-www-form-urlencoded"


def form_in(body: bytes, content_type: str = FORM) -> Form:
    async def read() -> Form:
        content = streams.StreamReader(Mock(), 2**16, loop=asyncio.get_running_loop())
        content.feed_data(body)
        content.feed_eof()
        return await read_form(
            make_mocked_request("POST", "/", {"Content-Type": content_type}, payload=content)
        )

    return asyncio.run(read())


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", {}),
        (b"name=a+b&scope=x&scope=y", {"name": ["a b"], "scope": ["x", "y"]}),
        (b"name=", {"name": [""]}),
        (b"name=%C3%BC", {"name": ["ü"]}),
    ],
)
def test_a_form_is_read(body: bytes, fields: dict[str, list[str]]) -> None:
    assert form_in(body).fields == fields


BAD_FORMS = [b"name", b"name=%ff", b"n\xc3\xbc=1", b"a=1&" * 200 + b"a=1", b"a=" + b"x" * 2**16, b"&"]


@pytest.mark.parametrize("body", BAD_FORMS, ids=lambda body: repr(body)[:20])
def test_what_no_page_of_ours_sends_is_no_form(body: bytes) -> None:
    with pytest.raises(FormError):
        form_in(body)


def test_another_encoding_is_no_form() -> None:
    with pytest.raises(FormError):
        form_in(b"name=a", "multipart/form-data")


@given(
    st.dictionaries(
        st.text(max_size=5), st.lists(st.text(max_size=9), min_size=1, max_size=3), max_size=4
    )
)
def test_whatever_a_browser_sends_is_read(fields: dict[str, list[str]]) -> None:
    assert form_in(urlencode(fields, doseq=True).encode()).fields == fields


LIKE_A_FORM = st.lists(st.sampled_from(["a", "b", "=", "&", "%", "%61", "%ff", "+", ";", "\xff"])).map(
    "".join
)


@given(LIKE_A_FORM.map(str.encode) | st.binary(max_size=20))
def test_any_body_is_a_form_or_the_one_error(body: bytes) -> None:
    try:
        fields = form_in(body).fields
    except FormError:
        return
    assert fields == parse_qs(body.decode(), keep_blank_values=True)


PARTS = [
    "/-/",
    "/",
    "//",
    "\\",
    "-",
    ".",
    "..",
    "tokens",
    "?",
    "=",
    "&",
    "%2e",
    "%5c",
    "@",
    ":",
    "#",
    "\t",
    "\n",
]


@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=2), max_size=8).map("".join))
def test_nobody_is_sent_elsewhere(address: str) -> None:
    """Browsers take white space away and turn backslashes round before they follow an address."""
    for asked in (address, f"/-/{address}"):
        page = own_page(asked)
        assert page in {asked, "/-/tokens"}
        read = "".join(page.split()).replace("\\", "/")
        target = urlsplit(urljoin("https://git.example.org/-/sign-in", read))
        assert (target.scheme, target.netloc) == ("https", "git.example.org")
        assert target.path.startswith("/-/")
        assert read == page
        assert page.isascii()
