"""The secret in the Authorization header: two forms, and everything else refused."""

import base64
import binascii

import pytest
from aiohttp import BasicAuth
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.git.credentials import CredentialsMalformedError, secret_of


def basic(user_pass: str | bytes, scheme: str = "Basic ") -> str:
    data = user_pass.encode() if isinstance(user_pass, str) else user_pass
    return scheme + base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ([], None),
        ([basic("alice:word")], "word"),
        ([basic(":word")], "word"),
        ([basic("word:")], None),
        ([basic("alice:")], None),
        ([basic(":")], None),
        ([basic("alice:wo:rd")], "wo:rd"),
        ([basic("alice::")], ":"),
        ([basic("alice: word ")], " word "),
        ([basic("Müller:word")], "word"),
        ([basic("Müller:word".encode("latin-1"))], "word"),
        ([basic(b"\xff\xfe\x00:word")], "word"),
        ([basic(b"alice:w\xf6rd")], "wörd"),
        ([basic("alice:word", "basic ")], "word"),
        ([basic("alice:word", "BASIC ")], "word"),
        ([basic("alice:word", "Basic   ")], "word"),
        ([" \t" + basic("alice:word") + " \t"], "word"),
        (["Basic YTpi"], "b"),
        (["Basic YTpiYg=="], "bb"),
        (["Basic YTpiYmI="], "bbb"),
        (["Bearer word"], "word"),
        (["bearer word"], "word"),
        (["BEARER  word"], "word"),
        (["Bearer a-._~+/0=="], "a-._~+/0=="),
    ],
)
def test_what_is_a_secret_and_what_is_none(headers: list[str], secret: str | None) -> None:
    assert secret_of(headers) == secret


@pytest.mark.parametrize(
    "headers",
    [
        [""],
        [" "],
        ["Basic"],
        ["Basic "],
        ["Bearer"],
        ["Bearer "],
        ["Bearer two words"],
        ["Bearer wörd"],
        ["Bearer word,"],
        ['Bearer token="word"'],
        ["Bearer =="],
        ["Basic\t" + basic("alice:word", "")],
        ["Basic" + basic("alice:word", "")],
        [basic("no colon")],
        [basic("")],
        ["Basic YTpiYg"],
        ["Basic YTpiYg="],
        ["Basic YTpiYg==="],
        ["Basic YTpi="],
        ["Basic YTpi=="],
        ["Basic YTp"],
        ["Basic YTpiYg==YTpi"],
        ["Basic YTpi YTpi"],
        ["Basic YTpi-w=="],
        ["Basic YTpi----"],
        ["Basic ===="],
        ["Basic a:b"],
        ["Basic YTpi\n"],
        ["Basic YTpi\r\nX: y"],
        ["Basic YTpi\0"],
        [basic("alice:word", "Basic\u00a0")],
        [basic("alice:word", "Digest ")],
        [basic("alice:word", "Negotiate ")],
        [basic("alice:word", "Basics ")],
        [basic("alice:word", "Token ")],
        ["word"],
        [basic("alice:word"), basic("alice:word")],
        [basic("alice:word"), ""],
        ["Bearer word", basic("alice:word")],
        [basic("alice:word") + ", Bearer word"],
    ],
)
def test_everything_else_is_malformed(headers: list[str]) -> None:
    with pytest.raises(CredentialsMalformedError):
        secret_of(headers)


PARTS = st.sampled_from(["Basic", "bearer", " ", "\t", ":", "YTpi", "=", ",", "\0", "ü", "\udcff", "\n"])


@given(st.lists(st.one_of(st.text(), st.lists(PARTS, max_size=6).map("".join)), max_size=3))
def test_any_text_is_a_secret_or_none_or_malformed(headers: list[str]) -> None:
    try:
        secret = secret_of(headers)
    except CredentialsMalformedError:
        return
    assert secret is None or secret
    assert len(headers) <= 1


@given(st.binary().filter(lambda name: b":" not in name), st.binary(min_size=1))
def test_whatever_the_username_the_password_is_the_secret(username: bytes, password: bytes) -> None:
    assert secret_of([basic(username + b":" + password)]) == password.decode("latin-1")


TOKEN68 = st.binary(max_size=40).map(base64.b64encode).map(bytes.decode) | st.text("YTpiZ0+/-_.~= ü")


@given(st.sampled_from(["Basic", "basic", "BASIC", "Bearer", "bEARER", "Digest", "Basi", ""]), TOKEN68)
def test_what_is_taken_is_what_a_more_lenient_reader_takes(scheme: str, token68: str) -> None:
    """Two readers that find different secrets in one header would be two doors."""
    try:
        secret = secret_of([f"{scheme} {token68}"])
    except CredentialsMalformedError:
        return
    token68 = token68.strip(" ")
    if scheme.lower() == "bearer":
        assert secret == token68
    else:
        assert (secret or "") == BasicAuth.decode(f"{scheme} {token68}", "latin-1").password


@given(st.binary(max_size=40), st.text("YTpi=-_ \n", min_size=1, max_size=3), st.integers(0, 60))
def test_of_good_credentials_with_something_in_between_nothing_is_lost(
    user_pass: bytes, more: str, place: int
) -> None:
    """base64 readers that skip what they don't know find a secret that was not sent."""
    good = base64.b64encode(user_pass + b":").decode()
    changed = good[:place] + more + good[place:]
    try:
        secret = secret_of([f"Basic {changed}"])
    except CredentialsMalformedError:
        return
    content = binascii.a2b_base64(changed.strip(" "), strict_mode=True)
    assert (secret or "").encode("latin-1") == content.partition(b":")[2]
