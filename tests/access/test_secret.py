"""The form of a secret: what is one, and what is dismissed without a look-up."""

import hashlib
import re
import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.secret import digest_of, hint_of, is_well_formed, make_secret, without_secrets
from tests.support.secrets_seen import SEEN

DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase


def a_secret() -> str:
    secret = make_secret()
    SEEN.secrets.add(secret)
    return secret


def test_a_secret_has_the_promised_form() -> None:
    secret = a_secret()
    assert re.fullmatch("gpat_[0-9A-Za-z]{40}[0-9A-Za-z]{6}", secret)
    assert secret[-6:] == checksum(secret[:-6])


def test_secrets_are_distinct_and_use_the_whole_alphabet() -> None:
    secrets = {make_secret() for _ in range(500)}
    assert len(secrets) == 500
    assert {character for secret in secrets for character in secret[5:45]} == set(DIGITS)
    assert all(map(is_well_formed, secrets))


def test_each_changed_character_is_noticed() -> None:
    secret = a_secret()
    for position in range(len(secret)):
        for character in DIGITS + "_-ü ":
            changed = secret[:position] + character + secret[position + 1 :]
            assert is_well_formed(changed) == (changed == secret), changed


def test_exchanged_lost_and_added_characters_are_noticed() -> None:
    secret = a_secret()
    for position in range(len(secret) - 1):
        first, second = secret[position : position + 2]
        exchanged = secret[:position] + second + first + secret[position + 2 :]
        assert is_well_formed(exchanged) == (first == second)
        assert not is_well_formed(secret[:position] + secret[position + 1 :])
        assert not is_well_formed(secret[:position] + "a" + secret[position:])


@pytest.mark.parametrize(
    "wrap",
    ["{} ", " {}", "{}\n", "\n{}", "{}\0", "{}=", '"{}"', "{0}{0}", "{}a", "x{}"],
)
def test_nothing_may_stand_around_a_secret(wrap: str) -> None:
    assert not is_well_formed(wrap.format(a_secret()))


def test_other_spellings_are_no_secret() -> None:
    secret = a_secret()
    assert not is_well_formed(secret.upper())
    assert not is_well_formed(secret.swapcase())
    assert not is_well_formed(secret.replace("gpat_", "ghp_"))
    assert not is_well_formed(secret.replace("_", "-"))
    assert not is_well_formed("gpat_" + "٣" * 46)
    assert not is_well_formed("")


def checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        digits = DIGITS[number % 62] + digits
        number //= 62
    return digits


def test_a_fitting_checksum_makes_no_secret_of_another_form() -> None:
    body = a_secret()[:-6]
    assert is_well_formed(body + checksum(body))
    others = [body[1:], body[:-1], body + "a", "", "gpat_", "ghp_" + body[5:], body[:-1] + "-"]
    assert not any(is_well_formed(other + checksum(other)) for other in others)


@given(st.one_of(st.text(), st.text(DIGITS, min_size=46, max_size=46).map("gpat_".__add__)))
def test_any_other_text_is_no_secret(text: str) -> None:
    assert not is_well_formed(text)


def test_the_digest_is_sha_256_of_the_whole_text() -> None:
    secret = a_secret()
    assert digest_of(secret) == hashlib.sha256(secret.encode()).digest()


def test_what_came_as_bytes_that_are_no_text_has_a_digest_too() -> None:
    """A cookie or a header may hold any bytes; aiohttp gives them as surrogates."""
    texts = [b"\xff", b"\xfe", b"?", b"\xc3\xbf"]
    digests = {digest_of(text.decode("utf-8", "surrogateescape")) for text in texts}
    assert len(digests) == len(texts)


def test_the_hint_shows_the_last_four_characters_alone() -> None:
    secret = a_secret()
    assert hint_of(secret) == "gpat_…" + secret[-4:]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{0}", "{1}"),
        ("fatal: https://ada:{0}@host/x: {0}.", "fatal: https://ada:{1}@host/x: {1}."),
        ("x{0}y", "x{1}y"),
        ("a\n{0}\nb", "a\n{1}\nb"),
        # one that is cut off, and right behind it a whole one
        ("gpat_" + "x" * 42 + "{0}", "gpat_…{1}"),
        ("gpat_" + "x" * 45 + "{0}", "gpat_…xxx{1}"),
        ("gpat_short and gpat_", "gpat_short and gpat_"),
        ("nothing", "nothing"),
        ("", ""),
    ],
)
def test_whatever_looks_like_a_secret_is_replaced_in_a_text(text: str, expected: str) -> None:
    secret = a_secret()
    assert without_secrets(text.format(secret)) == expected.format(secret, hint_of(secret))


def test_a_mistyped_secret_is_replaced_as_well() -> None:
    """All but a character of it is known then."""
    secret = a_secret()
    mistyped = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    assert secret[:20] not in without_secrets(f"got {mistyped}")


NEAR_SECRETS = st.lists(
    st.sampled_from([42, 43, 46, 47]).flatmap(lambda size: st.text(DIGITS, min_size=size, max_size=size))
    | st.sampled_from(["gpat_", "gpat", "_", "…", " "])
    | st.text(max_size=3),
    max_size=6,
).map("".join)


@given(NEAR_SECRETS)
def test_nothing_that_looks_like_a_secret_is_left_in_any_text(text: str) -> None:
    shown = without_secrets(text)
    assert not re.search("gpat_[0-9A-Za-z]{46}", shown)
    assert without_secrets(shown) == shown
    assert shown == text or "gpat_…" in shown


@given(st.text(st.characters(), max_size=60))
def test_any_text_has_a_digest(text: str) -> None:
    """Also what no UTF-8 can be: it came as bytes."""
    assert len(digest_of(text)) == 32


@given(st.text(DIGITS, min_size=40, max_size=40), st.data())
def test_a_form_with_its_checksum_is_a_secret_and_with_no_other(body: str, data: st.DataObject) -> None:
    body = f"gpat_{body}"
    assert is_well_formed(body + checksum(body))
    other = data.draw(st.text(DIGITS, min_size=6, max_size=6))
    assert is_well_formed(body + other) == (other == checksum(body))
