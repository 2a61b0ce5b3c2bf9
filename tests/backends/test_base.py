"""Which headers pass from one side to the other."""

from collections.abc import Mapping

import pytest

from gitpat_proxy.backends.base import FORWARDED_REQUEST_HEADERS, answer_headers, content_type_of

KEPT = {
    "Content-Encoding": "gzip",
    "Content-Length": "17",
    "content-type": "application/x-git-upload-pack-result",
}
LEFT_OUT = {
    **dict.fromkeys(["Set-Cookie", "WWW-Authenticate", "Location", "Server", "Connection"], "x"),
    **dict.fromkeys(["Cache-Control", "ETag", "Expires", "Last-Modified", "Pragma"], "x"),
    **dict.fromkeys(["Transfer-Encoding", "Keep-Alive", "Date", "X-Powered-By", "Upgrade"], "x"),
}


def test_only_what_concerns_the_client_of_a_backends_headers_is_kept() -> None:
    assert answer_headers(LEFT_OUT | KEPT) == KEPT


@pytest.mark.parametrize("name", ["authorization", "cookie", "host", "connection", "transfer-encoding"])
def test_what_concerns_the_proxy_alone_is_not_forwarded(name: str) -> None:
    assert name not in FORWARDED_REQUEST_HEADERS
    assert all(header == header.lower() for header in FORWARDED_REQUEST_HEADERS)


@pytest.mark.parametrize(
    ("headers", "media_type"),
    [
        ({"Content-Type": "application/x-git-y"}, "application/x-git-y"),
        ({"content-type": "Text/Plain; charset=utf-8"}, "text/plain"),
        ({"CONTENT-TYPE": " text/plain ;x"}, "text/plain"),
        ({"Content-Type": ""}, ""),
        ({"X-Content-Type": "text/plain"}, ""),
        ({}, ""),
    ],
)
def test_the_media_type_without_its_parameters(headers: Mapping[str, str], media_type: str) -> None:
    assert content_type_of(headers) == media_type
