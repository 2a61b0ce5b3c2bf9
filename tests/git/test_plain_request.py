"""Requests read from all of their bytes: nothing otherwise than by the HTTP parser."""

import asyncio
from contextlib import closing

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.git.plain_request import PlainRequest, plain_request

HEAD = b"GET /team/app.git/info/refs?service=git-upload-pack HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
POST = b"POST /app/git-upload-pack HTTP/1.1\r\n"


def read(data: bytes) -> PlainRequest | None:
    return plain_request(data, longest_head=8192, most_headers=20)


def test_a_get() -> None:
    request = read(HEAD + HOST + b"Authorization: Basic eDp5\r\nGit-Protocol: version=2\r\n\r\n")
    headers = {"host": "localhost", "authorization": "Basic eDp5", "git-protocol": "version=2"}
    query = "service=git-upload-pack"
    assert request == PlainRequest("GET", "/team/app.git/info/refs", query, headers, b"")


def test_a_post() -> None:
    request = read(POST + HOST + b"Content-Length: 4\r\n\r\n0000")
    headers = {"host": "localhost", "content-length": "4"}
    assert request == PlainRequest("POST", "/app/git-upload-pack", "", headers, b"0000")


UNUSUAL = {
    "nothing": b"",
    "cut in the head": HEAD + HOST,
    "no host": HEAD + b"Accept: */*\r\n\r\n",
    "HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + HOST + b"\r\n",
    "bare LF": (HEAD + HOST + b"\r\n").replace(b"\r", b""),
    "folded": HEAD + HOST + b"Accept: a\r\n b\r\n\r\n",
    "space before the colon": HEAD + b"Host : localhost\r\n\r\n",
    "space at the end": HEAD + b"Host: localhost \r\n\r\n",
    "no value": HEAD + HOST + b"Accept: \r\n\r\n",
    "8-bit": HEAD + HOST + b"Accept: \xff\r\n\r\n",
    "the same name twice": HEAD + HOST + b"Accept: a\r\naccept: b\r\n\r\n",
    "absolute form": HEAD.replace(b" /", b" http://localhost/") + HOST + b"\r\n",
    "two slashes": HEAD.replace(b" /", b" //") + HOST + b"\r\n",
    "a fragment": HEAD.replace(b"?", b"#") + HOST + b"\r\n",
    "another method": HEAD.replace(b"GET", b"HEAD") + HOST + b"\r\n",
    "a body with GET": HEAD + HOST + b"\r\n0000",
    "a length with GET": HEAD + HOST + b"Content-Length: 0\r\n\r\n",
    "two requests": 2 * (HEAD + HOST + b"\r\n"),
    "no length with POST": POST + HOST + b"\r\n",
    "cut in the body": POST + HOST + b"Content-Length: 5\r\n\r\n0000",
    "more than the body": POST + HOST + b"Content-Length: 3\r\n\r\n0000",
    "another writing of the length": POST + HOST + b"Content-Length: 04\r\n\r\n0000",
    "chunked": POST + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0000",
    "Expect": POST + HOST + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n0000",
    "Connection": HEAD + HOST + b"Connection: close\r\n\r\n",
    "Upgrade": HEAD + HOST + b"Upgrade: h2c\r\n\r\n",
    "a long head": HEAD + HOST + b"Accept: " + 8192 * b"a" + b"\r\n\r\n",
    "many headers": HEAD + HOST + b"".join(b"A%d: a\r\n" % i for i in range(20)) + b"\r\n",
}


@pytest.mark.parametrize("data", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_what_is_unusual_is_left_to_the_parser(data: bytes) -> None:
    assert read(data) is None


PIECES = [
    *[HEAD, POST, HOST, b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"0000", b"0", b"\0", b"\xff", b"%2e"],
    *[b"GET ", b"POST ", b"/a", b"/", b"?", b"#", b"&", b"=", b";", b"|", b" HTTP/1.1", b" HTTP/1.0"],
    *[b"Content-Length: 4\r\n", b"Content-Length: 0\r\n", b"Accept: a", b"X-Y: z z\r\n", b"x_y: z\r\n"],
    *[b"Transfer-Encoding: chunked\r\n", b"Connection: keep-alive\r\n", b"Upgrade: a\r\n", b"a: b\r\n"],
]
NEARLY = st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join)
HEADERS = st.lists(st.sampled_from([b"Accept: a\r\n", b"X-Y: z z\r\n", b"a: \r\n", b"B:c\r\n"])).map(
    b"".join
)
REQUESTS = st.one_of(
    st.binary(max_size=80),
    NEARLY,
    st.tuples(st.sampled_from([HEAD, POST]), NEARLY, st.just(HOST), NEARLY).map(b"".join),
    st.builds(
        lambda target, headers, body: (
            b"POST /%s HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s"
            % (target, HOST, headers, len(body), body)
        ),
        st.sampled_from(
            [b"a", b"a/b?c=d", b"a%2fb", b"a?b?c", b".", b"a?/", b"?", b"%", b"a=b,c@d:e+f"]
        ),
        HEADERS,
        st.binary(max_size=20),
    ),
    st.builds(
        lambda target, headers: b"GET /%s HTTP/1.1\r\n%s%s\r\n" % (target, HOST, headers),
        st.text(st.sampled_from("aZ0-._~%/?=&+@:,;'()*!$#\\^\"<> "), max_size=9).map(str.encode),
        HEADERS,
    ),
)


@given(REQUESTS)
def test_the_parser_reads_the_same(data: bytes) -> None:
    """Nine in ten are left to it; those that are read have to mean the same to both."""
    request = read(data)
    if request is None:
        return
    with closing(asyncio.new_event_loop()) as loop:
        parser = HttpRequestParser(BaseProtocol(loop), loop, 65536, auto_decompress=False)
        messages, is_upgraded, tail = parser.feed_data(data)
        [(message, payload)] = messages
        assert (is_upgraded, tail) == (False, b"")
        assert (message.method, message.should_close) == (request.method, False)
        assert (message.url.raw_path, message.url.raw_query_string) == (request.path, request.query)
        assert {name.lower(): value for name, value in message.headers.items()} == request.headers
        assert payload.is_eof()
        assert payload.read_nowait() == request.body
