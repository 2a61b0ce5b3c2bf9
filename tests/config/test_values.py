"""Values of single keys: each is what it says, or a mistake."""

from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gitpat_proxy.config.values import (
    Description,
    Group,
    HeaderName,
    Lifetime,
    ListenAddress,
    Mode,
    ScopeName,
    SecretVariable,
    Size,
    TrustedNetwork,
    Url,
    listen_address_of,
    read_route_path,
    size_text,
)

KINDS = [
    Size,
    Mode,
    Group,
    Url,
    TrustedNetwork,
    Lifetime,
    HeaderName,
    ScopeName,
    Description,
    SecretVariable,
]
LIKE_VALUES = [
    r"[0-9]{1,14} ?([KMG]iB|MB|)",
    r"0?[0-7]{2,4}",
    r"https?://[a-z@:/\[\]0-9?#]{0,9}",
    r"[0-9a-f.:]{0,9}/?[0-9]{0,3}",
    r"[0-9]{1,6}[mhdw]?",
    r"[a-zA-Z:_-]{1,9}\n?",
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.datetimes()
    | st.binary()
    | st.text()
    | st.one_of(*map(st.from_regex, LIKE_VALUES)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(VALUES, st.sampled_from(KINDS))
def test_whatever_yaml_gives_is_a_value_or_a_mistake(value: object, kind: Any) -> None:
    with suppress(ValidationError):
        TypeAdapter(kind).validate_python(value)


@given(
    st.integers(1, 10**12 - 1),
    st.sampled_from([("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30)]),
    st.booleans(),
)
def test_a_size_is_written_as_it_is_read(number: int, unit: tuple[str, int], has_space: bool) -> None:
    name, factor = unit
    size = TypeAdapter(Size).validate_python(f"{number}{' ' * has_space}{name}")
    assert size == number * factor
    assert TypeAdapter(Size).validate_python(size_text(size)) == size


HOSTS = st.ip_addresses().map(str) | st.from_regex(r"[A-Za-z0-9.-]+", fullmatch=True)
# Of up to four bytes each: below a folder they are short enough for a socket.
PATHS = st.text(min_size=1, max_size=25).filter(lambda text: "\0" not in text)


@given(
    st.builds(ListenAddress, HOSTS, st.integers(0, 65535))
    | st.builds(lambda path: ListenAddress(path=Path("/run") / path), PATHS)
)
def test_an_address_to_listen_on_is_written_as_it_is_read(address: ListenAddress) -> None:
    assert listen_address_of(str(address), Path("/elsewhere")) == address


@given(st.text() | st.from_regex(r"(unix:|\[?[0-9a-f:.]*\]?):?[0-9]{0,6}") | st.integers() | st.none())
def test_any_address_to_listen_on_is_one_or_a_mistake(text: object) -> None:
    try:
        address = listen_address_of(text, Path("/run"))
    except ValueError:
        return
    assert listen_address_of(str(address), Path("/elsewhere")) == address


@given(
    st.lists(st.sampled_from(["/", "-", ".", "..", "a", "é", " "]) | st.text(max_size=2)).map("".join)
)
def test_any_prefix_is_whole_segments_or_a_mistake(text: str) -> None:
    try:
        path = read_route_path(text)
    except ValueError:
        return
    assert read_route_path(path) == path
    assert path.startswith("/")
    assert path == "/" or not {"", ".", ".."} & set(path[1:].split("/"))
    assert not path.startswith("/-/")


@given(st.from_regex(r"https?://[a-z0-9.@:/\[\]?#%]{1,20}", fullmatch=True))
def test_an_address_of_a_server_has_a_host_and_nothing_secret(text: str) -> None:
    try:
        parts = urlsplit(TypeAdapter(Url).validate_python(text))
    except ValidationError:
        return
    assert parts.hostname
    assert not any([parts.username, parts.password, parts.query, parts.fragment])
    assert parts.port != 0


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "10.0.0.1/8", "10/8", "localhost", 10])
def test_not_everybody_is_trusted(text: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(TrustedNetwork).validate_python(text)


def test_a_network_is_trusted() -> None:
    assert TypeAdapter(TrustedNetwork).validate_python("10.0.0.0/8") == ip_network("10.0.0.0/8")
