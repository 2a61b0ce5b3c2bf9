"""What is read as JSON and as a form, and what is not."""

import json
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.names import printable
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


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)
LIKE_JSON = st.lists(
    st.sampled_from(
        [*'[]{},:"\\', "[[[[", '{"a":', '"a"', r'"\""', "NaN", "1e999", "-", "nul", "true", " "]
    )
    | st.text(max_size=3),
    max_size=40,
).map("".join)


@given(VALUES, st.booleans())
def test_whatever_a_program_writes_as_json_is_read(value: object, only_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=only_ascii).encode()
    assert json_of(body) == value


@given(LIKE_JSON.map(str.encode) | st.binary(max_size=40))
def test_any_body_is_json_of_bounded_depth_or_malformed(body: bytes) -> None:
    try:
        value = json_of(body)
    except ProblemError as error:
        check(error)
        return
    assert json.dumps(value) == json.dumps(json.loads(body))
    assert depth_of(value) <= DEEPEST


def depth_of(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


def check(error: ProblemError) -> None:
    assert error.status == 400
    assert error.detail == printable(error.detail)


FIELDS = st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=5)
LIKE_A_FORM = st.lists(st.sampled_from(["a", "b", "=", "&", "%", "%61", "%ff", "+", ";", "\xff"])).map(
    "".join
)


@given(FIELDS)
def test_whatever_a_program_sends_as_a_form_is_read(fields: dict[str, str]) -> None:
    assert form_of(urlencode(fields).encode(), fields) == fields


@given(LIKE_A_FORM.map(str.encode) | st.binary(max_size=20), st.sets(st.sampled_from("ab")))
def test_any_body_is_a_form_s_known_fields_or_a_problem(body: bytes, known: set[str]) -> None:
    try:
        fields = form_of(body, known)
    except ProblemError as error:
        check(error)
        return
    assert fields.keys() <= known
    found = parse_qs(body.decode(), keep_blank_values=True)
    assert fields == {name: found[name][0] for name in known & found.keys()}
