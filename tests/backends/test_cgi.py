"""CGI as git speaks it: the environment of the child, and the head of its answer."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.backends.base import Call
from gitpat_proxy.backends.cgi import (
    LONGEST_HEAD,
    CgiHeadError,
    environment,
    parse_head,
    split_head,
)
from gitpat_proxy.git.operation import operation_of


async def no_body() -> AsyncIterator[bytes]:
    return
    yield


def call(
    method: str = "POST",
    endpoint: str = "git-receive-pack",
    query: str = "",
    headers: Mapping[str, str] | None = None,
    account: str = "alice",
) -> Call:
    return Call(
        operation=operation_of(method, f"/team/app.git/{endpoint}", query),
        path=("app.git",),
        headers=headers or {},
        body=no_body(),
        whole_body=None,
        account=account,
        token_id="lusab-babad",
        address="192.0.2.7",
        request_id="r1",
    )


def environment_of(a_call: Call, inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    return environment(a_call, "/srv/git", "app.git", "git.example.org", inherited or {})


COMMON = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "GIT_PROJECT_ROOT": "/srv/git",
    "GIT_HTTP_EXPORT_ALL": "1",
    "REMOTE_ADDR": "192.0.2.7",
    "REMOTE_USER": "alice",
    "GIT_COMMITTER_NAME": "alice",
    "GIT_COMMITTER_EMAIL": "alice@git.example.org",
    "GITPAT_ACCOUNT": "alice",
    "GITPAT_TOKEN_ID": "lusab-babad",
}


@pytest.mark.parametrize(
    ("a_call", "of_the_request"),
    [
        (
            call(),
            {
                "REQUEST_METHOD": "POST",
                "QUERY_STRING": "",
                "CONTENT_TYPE": "application/x-git-receive-pack-request",
                "PATH_INFO": "/app.git/git-receive-pack",
            },
        ),
        (
            call("GET", "info/refs", "a=b&servic%65=git-upload-pac%6b"),
            {
                "REQUEST_METHOD": "GET",
                "QUERY_STRING": "service=git-upload-pack",
                "CONTENT_TYPE": "",
                "PATH_INFO": "/app.git/info/refs",
            },
        ),
        (
            call("GET", "HEAD", "x"),
            {
                "REQUEST_METHOD": "GET",
                "QUERY_STRING": "",
                "CONTENT_TYPE": "",
                "PATH_INFO": "/app.git/HEAD",
            },
        ),
    ],
)
def test_the_environment_is_made_from_what_was_understood(
    a_call: Call, of_the_request: dict[str, str]
) -> None:
    assert environment_of(a_call) == COMMON | of_the_request


def test_where_history_is_protected_git_is_told_so_for_this_push_alone() -> None:
    changed = environment_of(replace(call(), only_forward=True)).items() - environment_of(call()).items()
    assert dict(changed) == {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "receive.denyNonFastForwards",
        "GIT_CONFIG_VALUE_0": "true",
        "GIT_NO_REPLACE_OBJECTS": "1",
    }


HEADERS = {
    "accept": "x",
    "accept-language": "de",
    "content-encoding": "gzip",
    "content-length": "17",
    "content-type": "application/x-git-upload-pack-request",
    "git-protocol": "version=2",
    "user-agent": "git/2.39.5",
    "authorization": "Bearer x",
    "proxy": "http://evil",
    "x-forwarded-for": "203.0.113.9",
}


def test_of_the_clients_headers_two_become_variables() -> None:
    added = environment_of(call(headers=HEADERS)).items() - environment_of(call()).items()
    assert dict(added) == {"HTTP_CONTENT_ENCODING": "gzip", "GIT_PROTOCOL": "version=2"}


def test_search_path_and_locale_alone_are_inherited() -> None:
    taken = {"PATH": "/usr/bin", "LANG": "C", "LC_ALL": "C.UTF-8", "LC_MESSAGES": "de_DE"}
    left = {
        **dict.fromkeys(["HOME", "USER", "GIT_DIR", "GIT_CONFIG", "GIT_TRACE", "XLC_ALL", "PATHS"], "x"),
        **dict.fromkeys(["http_proxy", "HTTP_PROXY", "HTTP_AUTHORIZATION", "LD_PRELOAD", "LC_"], "x"),
        **dict.fromkeys(["GITPAT_PROXY_CONFIG", "UPSTREAM_PASSWORD", "CONTENT_LENGTH", "LANGUAGE"], "x"),
    }
    added = environment_of(call(), taken | left).items() - environment_of(call()).items()
    assert dict(added) == taken


def test_nothing_inherited_replaces_what_the_proxy_says() -> None:
    evil = dict.fromkeys(environment_of(call()), "evil")
    assert environment_of(call(), evil) == environment_of(call())


@pytest.mark.parametrize(
    ("value", "passed_on"),
    [
        ("version=2", True),
        ("version=1", True),
        ("version=2:object-format=sha256", True),
        ("a" * 255, True),
        ("a" * 256, False),
        ("", False),
        ("version=2\n", False),
        ("version=2;x", False),
        ("version=2 x", False),
        ("$(x)", False),
        ("ü", False),
        ("a/b", False),
    ],
)
def test_the_protocol_is_passed_on_if_it_has_gits_form(value: str, passed_on: bool) -> None:
    variables = environment_of(call(headers={"git-protocol": value}))
    assert variables.get("GIT_PROTOCOL") == (value if passed_on else None)


def test_an_account_that_is_an_address_commits_as_that() -> None:
    assert environment_of(call(account="a@b.org"))["GIT_COMMITTER_EMAIL"] == "a@b.org"


@pytest.mark.parametrize(
    ("output", "parts"),
    [
        (b"", None),
        (b"Status: 200 OK\r\n", None),
        (b"Status: 200 OK\r\n\r", None),
        (b"A: b\r\n\r\n", (b"A: b", b"")),
        (b"A: b\r\nC: d\r\n\r\n\r\nbody\n\n", (b"A: b\r\nC: d", b"\r\nbody\n\n")),
        (b"A: b\n\nbody", (b"A: b", b"body")),
        (b"A: b\n\r\nbody", (b"A: b", b"body")),
        (b"A: b\r\n\nbody", (b"A: b", b"body")),
        (b"A: b\n", None),
        (b"x" * LONGEST_HEAD, None),
    ],
)
def test_where_the_head_ends(output: bytes, parts: tuple[bytes, bytes] | None) -> None:
    assert split_head(output) == parts


def test_a_head_without_end_is_an_error() -> None:
    with pytest.raises(CgiHeadError, match="its head does not end"):
        split_head(b"x" * (LONGEST_HEAD + 1))


@pytest.mark.parametrize(
    ("head", "status", "headers"),
    [
        (b"Content-Type: text/plain", 200, {"Content-Type": "text/plain"}),
        (b"Status: 403 Forbidden\r\nExpires: x", 403, {"Expires": "x"}),
        (b"Expires: x\nStatus: 404", 404, {"Expires": "x"}),
        (b"Expires: x\r\nexpires: y", 200, {"Expires": "y"}),
        (b"cache-CONTROL:no-cache,  max-age=0\t", 200, {"Cache-Control": "no-cache,  max-age=0"}),
        (b"A:", 200, {"A": ""}),
        (b"A: b: c", 200, {"A": "b: c"}),
        (b"Status: 500 ", 500, {}),
    ],
)
def test_what_a_head_means(head: bytes, status: int, headers: dict[str, str]) -> None:
    assert parse_head(head) == (status, headers)


NO_HEADS = [
    *[b"no colon", b": x", b"A b: c", b" A: b", b"A: b\r\n folded", b"A : b", b"A: b\r\n\r\nC: d"],
    *[b"A: b\x00", b"A: \xff", b"A: b\x1b", b"\xff: b", b"A: b\rC: d\x07", b"fatal: x\nno header"],
    *[b"Status: ", b"Status: OK", b"Status: 99", b"Status: 600", b"Status: 2000", b"Status: 200OK"],
    *[b"Status: -200", b"Status: 200 OK\nStatus: x"],
]


@pytest.mark.parametrize("head", NO_HEADS)
def test_what_is_no_head(head: bytes) -> None:
    with pytest.raises(CgiHeadError):
        parse_head(head)


@given(st.binary(), st.data())
def test_any_output_is_split_alike_however_it_comes(output: bytes, data: st.DataObject) -> None:
    parts = split_head(output)
    cut = data.draw(st.integers(0, len(output)))
    early = split_head(output[:cut])
    if early is not None:
        assert parts
        assert early[0] == parts[0]
    if parts is not None:
        assert b"\n\n" not in parts[0]
        assert output.startswith(parts[0])
        assert output.endswith(parts[1])


LIKE_A_HEAD = st.from_regex(rb"(Status: [0-9]{1,4}.{0,5}\r?\n)?([A-Za-z-]+: ?.*\r?\n)*")


@given(st.one_of(st.binary(), LIKE_A_HEAD))
def test_any_head_is_headers_or_the_one_error(head: bytes) -> None:
    try:
        status, headers = parse_head(head)
    except CgiHeadError:
        return
    assert 100 <= status <= 599
    for name, value in headers.items():
        assert name.isascii()
        assert (name + value).isprintable() or "\t" in value


NAMES = st.from_regex(r"[A-Za-z][A-Za-z-]{0,12}", fullmatch=True).map(str.title)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip)


@given(
    st.dictionaries(NAMES.filter(lambda name: name != "Status"), VALUES, min_size=1, max_size=5),
    st.none() | st.integers(100, 599),
    st.sampled_from([b"\n", b"\r\n"]),
    st.binary(),
)
def test_whatever_a_program_sets_is_read_and_the_body_is_left(
    headers: dict[str, str], status: int | None, line_end: bytes, body: bytes
) -> None:
    lines = [f"{name}: {value}".encode() for name, value in headers.items()]
    lines += [f"Status: {status} Words".encode()] if status else []
    parts = split_head(line_end.join([*lines, b"", body]))
    assert parts
    assert parse_head(parts[0]) == (status or 200, headers)
    assert parts[1] == body


SENT = st.dictionaries(
    st.sampled_from(["content-encoding", "git-protocol", "authorization", "content-length", "proxy"]),
    st.text(st.characters(exclude_characters="\0"), max_size=9) | st.just("version=2"),
)


@given(SENT, st.dictionaries(st.text(max_size=9) | st.sampled_from(["PATH", "LC_ALL", "A"]), st.text()))
def test_of_what_a_client_sends_git_gets_two_headers_and_nothing_else(
    headers: dict[str, str], inherited: dict[str, str]
) -> None:
    usual = environment_of(call())
    variables = environment_of(call(headers=headers), inherited)
    more = {name: value for name, value in variables.items() if usual.get(name) != value}
    from_headers = {name: more.pop(name, "") for name in ("HTTP_CONTENT_ENCODING", "GIT_PROTOCOL")}
    assert from_headers["HTTP_CONTENT_ENCODING"] == headers.get("content-encoding", "")
    assert re.fullmatch(r"[A-Za-z0-9=:._-]*", from_headers["GIT_PROTOCOL"])
    assert more.items() <= inherited.items()
    assert all(re.fullmatch("PATH|LANG|LC_[A-Z]+", name) for name in more)
