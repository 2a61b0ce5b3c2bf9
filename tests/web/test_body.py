"""What is read as JSON and as a form, and what is not."""

import pytest

from gitpat_proxy.web.api.body import DEEPEST, check_media_type, form_of, json_of
from gitpat_proxy.web.api.problem import ApiCode, ProblemError


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, null, true]}', {"a": [1, None, True]}),
        (b'"[[[[[[[[[[[[[[[[[[[[[[[[[[\\"[[["', "[" * 26 + '"[[['),
        (b"[" * DEEPEST + b"]" * DEEPEST, None),
        (b" 1 ", 1),
    ],
)
def test_json_is_read(body: bytes, value: object) -> None:
    assert value is None or json_of(body) == value
    json_of(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x80",
        b"\xef\xbb\xbf{}",
        b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1),
        b'{"a":' * 10_000,
        b'"' + b"[" * 60_000,
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b'{"a": {"b": 1, "b": 2}}',
        b"9" * 5_000,
        b"{} {}",
        b"{'a': 1}",
    ],
    ids=lambda body: repr(body)[:30],
)
def test_what_readers_disagree_on_or_choke_on_is_malformed(body: bytes) -> None:
    with pytest.raises(ProblemError) as caught:
        json_of(body)
    assert (caught.value.code, caught.value.status) == (ApiCode.MALFORMED, 400)


def test_a_form_s_known_fields_are_read_and_the_others_ignored() -> None:
    assert form_of(b"token=a%20b+c&x=1&x=2&empty=", {"token", "empty"}) == {
        "token": "a b c",
        "empty": "",
    }
    assert form_of(b"", {"token"}) == {}


@pytest.mark.parametrize("body", [b"token=a&token=a", b"token=%ff", b"\xff=1", b"token"])
def test_a_form_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(ProblemError) as caught:
        form_of(body, {"token"})
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("headers", "is_read"),
    [
        ({"Content-Type": "application/json"}, True),
        ({"Content-Type": "Application/JSON; charset=UTF-8"}, True),
        ({"Content-Type": 'application/json;charset="utf-8"'}, True),
        ({"Content-Type": "application/json", "Content-Encoding": "identity"}, True),
        ({}, False),
        ({"Content-Type": "application/json-patch+json"}, False),
        ({"Content-Type": "application/json; charset=utf-16"}, False),
        ({"Content-Type": "application/json; boundary=x"}, False),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, False),
    ],
)
def test_only_what_says_that_it_is_json_is_read(headers: dict[str, str], is_read: bool) -> None:
    if is_read:
        check_media_type(headers, "application/json")
        return
    with pytest.raises(ProblemError) as caught:
        check_media_type(headers, "application/json")
    assert caught.value.status == 415
