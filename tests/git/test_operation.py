"""What is an address of Git's, and under which one name: the table after git's http-backend.c."""

import re
import unicodedata
from typing import TypeAlias
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from gitpat_proxy.git.operation import (
    Kind,
    MethodNotAllowedError,
    NotGitError,
    Operation,
    Service,
    operation_of,
    typed_repository,
)

SHA1, SHA256 = "0123456789abcdef" * 2 + "01234567", "0123456789abcdef" * 4
READ, WRITE = "code:read", "code:write"

RPC = [(Service.UPLOAD_PACK, READ), (Service.RECEIVE_PACK, WRITE), (Service.UPLOAD_ARCHIVE, READ)]
DUMB = [
    "HEAD",
    "objects/info/alternates",
    "objects/info/http-alternates",
    "objects/info/packs",
    f"objects/{SHA1[:2]}/{SHA1[2:]}",
    f"objects/{SHA256[:2]}/{SHA256[2:]}",
    f"objects/pack/pack-{SHA1}.pack",
    f"objects/pack/pack-{SHA1}.idx",
    f"objects/pack/pack-{SHA256}.pack",
    f"objects/pack/pack-{SHA256}.idx",
]
Row: TypeAlias = tuple[str, str, str, Kind, Service | None, str]
# method, endpoint, query, kind, service, scope
ENDPOINTS: list[Row] = [
    *[("GET", "info/refs", f"service={s}", Kind.ADVERTISEMENT, s, scope) for s, scope in RPC],
    *[("POST", str(s), "", Kind.RPC, s, scope) for s, scope in RPC],
    ("GET", "info/refs", "", Kind.DUMB, None, READ),
    *[("GET", endpoint, "", Kind.DUMB, None, READ) for endpoint in DUMB],
]
# as asked for, canonical
REPOSITORIES = [
    ("app", "app"),
    ("app.git", "app"),
    ("team/app", "team/app"),
    ("a/b/c/d/app.git", "a/b/c/d/app"),
    ("group.git/app", "group.git/app"),
    ("info/refs", "info/refs"),
    ("objects/HEAD", "objects/HEAD"),
    ("a%20b", "a b"),
    ("a+b", "a+b"),
    ("a%2Bb", "a+b"),
    ("a%25", "a%"),
    ("%C3%BC", "ü"),
    ("ü", "ü"),
    ("%7Eada", "~ada"),
    ("team/-", "team/-"),
    ("-x", "-x"),
    ("...", "..."),
    (".gitx", ".gitx"),
    ("x.gi%74", "x"),
]


@pytest.mark.parametrize(("asked", "canonical"), REPOSITORIES)
@pytest.mark.parametrize("row", ENDPOINTS)
def test_every_endpoint_of_every_repository_is_read(row: Row, asked: str, canonical: str) -> None:
    method, endpoint, query, kind, service, scope = row
    operation = operation_of(method, f"/{asked}/{endpoint}", query)
    assert (operation.kind, operation.service, operation.scope) == (kind, service, scope)
    assert (operation.repository, operation.endpoint) == (canonical, endpoint)
    assert "/".join(operation.path).removesuffix(".git") == canonical
    assert len(operation.path) == asked.count("/") + 1
    assert operation.method == method
    assert operation.query == query


@pytest.mark.parametrize("wrong", ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "get", "post", ""])
@pytest.mark.parametrize(("method", "endpoint"), [(row[0], row[1]) for row in ENDPOINTS])
def test_another_method_is_refused_and_the_right_one_named(
    method: str, endpoint: str, wrong: str
) -> None:
    if wrong == method:
        assert operation_of(wrong, f"/app/{endpoint}", "")
        return
    with pytest.raises(MethodNotAllowedError) as caught:
        operation_of(wrong, f"/app/{endpoint}", "")
    assert caught.value.allowed == method


@pytest.mark.parametrize(
    ("kind", "service", "request_type", "answer_type"),
    [
        (
            Kind.ADVERTISEMENT,
            Service.UPLOAD_PACK,
            None,
            "application/x-git-upload-pack-advertisement",
        ),
        (
            Kind.RPC,
            Service.RECEIVE_PACK,
            "application/x-git-receive-pack-request",
            "application/x-git-receive-pack-result",
        ),
        (
            Kind.RPC,
            Service.UPLOAD_ARCHIVE,
            "application/x-git-upload-archive-request",
            "application/x-git-upload-archive-result",
        ),
        (Kind.DUMB, None, None, None),
    ],
)
def test_media_types(
    kind: Kind, service: Service | None, request_type: str | None, answer_type: str | None
) -> None:
    operation = Operation(kind, service, ("app",), "info/refs")
    assert (operation.request_type, operation.answer_type) == (request_type, answer_type)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "//",
        "/app",
        "/app/",
        "/info/refs",
        "/git-upload-pack",
        "//info/refs",
        "/app/info/refs/",
        "/app//info/refs",
        "//app/info/refs",
        "/app/info//refs",
        "app/info/refs",
        "http://host/app/info/refs",
        "/http://host/app/info/refs",
        "*",
        # dots, in every spelling
        "/./app/info/refs",
        "/../app/info/refs",
        "/team/../app/info/refs",
        "/app/../info/refs",
        "/app/./info/refs",
        "/team/%2e%2e/app/info/refs",
        "/team/%2E./app/info/refs",
        "/app/%2e/info/refs",
        # what a file system, git or a terminal could take for something else
        "/team%2Fapp/info/refs",
        "/app%2finfo/refs",
        "/app%2Finfo%2Frefs",
        "/..%2fapp/info/refs",
        "/a%5cb/info/refs",
        "/a\\b/info/refs",
        "/a%00/info/refs",
        "/a%0a/info/refs",
        "/a%0D/info/refs",
        "/a%1b%5b1m/info/refs",
        "/a%7f/info/refs",
        "/a%c2%85/info/refs",
        # no UTF-8: a stray byte, an overlong slash, a surrogate, raw or encoded
        "/%ff/info/refs",
        "/%c0%af/info/refs",
        "/%ed%a0%80/info/refs",
        "/\udcff/info/refs",
        # the proxy's own
        "/-/x/info/refs",
        "/%2d/x/info/refs",
        "/%2D/info/refs",
        # aliases of a repository, or a way inside it
        "/.git/info/refs",
        "/app/.git/info/refs",
        "/app/%2egit/info/refs",
        "/app/.git/modules/sub/info/refs",
        "/app.git.git/info/refs",
        "/app.git%2egit/info/refs",
        "/..git/info/refs",
        "/...git/info/refs",
        "/app/..git/info/refs",
        "/app/%2e%2egit/HEAD",
        "/team/app/...git/info/refs",
        "/app/.git.git/info/refs",
        # near misses of an endpoint
        "/app/info/refs2",
        "/app/info/Refs",
        "/app/xinfo/refs",
        "/app/git-upload-pack/x",
        "/app/git-upload-pac",
        "/app/git-upload-packs",
        "/app/git-shell",
        "/app/HEAD.lock",
        "/app/head",
        "/app/config",
        "/app/hooks/pre-receive",
        "/app/objects/info/commit-graph",
        "/app/objects/info/xalternates",
        f"/app/objects/{SHA1[:2]}/{SHA1[2:-1]}",
        f"/app/objects/{SHA1[:2]}/{SHA1[2:]}0",
        f"/app/objects/{SHA256[:2]}/{SHA256[2:]}0",
        f"/app/objects/{SHA1[:1]}/{SHA1[1:]}",
        f"/app/objects/{SHA1[:2]}/{SHA1[2:].upper()}",
        f"/app/objects/pack/pack-{SHA1}.rev",
        f"/app/objects/pack/pack-{SHA1}.keep",
        f"/app/objects/pack/pack-{SHA1[:-1]}.pack",
        f"/app/objects/pack/pack-{SHA1}xpack",
    ],
)
def test_what_is_no_address_of_gits_is_refused(path: str) -> None:
    for method in ("GET", "POST"):
        with pytest.raises((NotGitError, MethodNotAllowedError)):
            operation_of(method, path, "")
    with pytest.raises(NotGitError):
        operation_of("POST" if "git-" in path else "GET", path, "")


@pytest.mark.parametrize("last", ["git-receive-pac%6b", "%67it-receive-pack", "git%2Dreceive-pack"])
def test_an_encoded_service_means_what_git_would_take_it_for(last: str) -> None:
    """git's http-backend decodes it: taken for another service it would need but code:read."""
    operation = operation_of("POST", f"/app/{last}", "")
    assert operation.scope == WRITE
    assert operation.endpoint == "git-receive-pack"


@pytest.mark.parametrize(
    "query",
    [
        "service=git-receive-pac%6b",
        "servic%65=git-receive-pack",
        "x=git-upload-pack&service=git-receive-pack",
        "service=git-receive-pack&Service=git-upload-pack",
        "&service=git-receive-pack&",
    ],
)
def test_an_encoded_service_in_the_query_is_forwarded_decoded(query: str) -> None:
    operation = operation_of("GET", "/app/info/refs", query)
    assert operation.scope == WRITE
    assert operation.query == "service=git-receive-pack"


@pytest.mark.parametrize(
    "query",
    [
        "service=git-upload-pack&service=git-receive-pack",
        "service=git-upload-pack&service=git-upload-pack",
        "service=git-upload-pack&servic%65=git-receive-pack",
        "service=git-upload-pack&service=",
        "service",
        "service=",
        "service=upload-pack",
        "service=git-upload-packs",
        "service=git-upload-pack%00",
        "service=git-upload-pack%0a",
        "service=git-upload-pack;service=git-receive-pack",
        "service=GIT-UPLOAD-PACK",
        "service=git-shell",
        "service=%ff",
        "service=+git-upload-pack",
    ],
)
def test_a_doubtful_service_is_refused(query: str) -> None:
    with pytest.raises(NotGitError):
        operation_of("GET", "/app/info/refs", query)


PARTS = st.sampled_from(
    ["/", "%2f", ".", "..", "%2e", ".git", "-", "%2d", "a", "ü", "%", "%ff", "%00", "\\", "\udcff", "&"]
)
TEXT = st.one_of(st.text(), st.lists(PARTS, max_size=9).map("".join))


@given(method=st.sampled_from(["GET", "POST"]), path=TEXT, query=TEXT)
@example(method="GET", path="/x.git.git/HEAD", query="")
def test_any_text_is_an_operation_or_one_of_two_errors(method: str, path: str, query: str) -> None:
    for candidate in (path, f"/{path}/info/refs", f"/{path}/git-receive-pack"):
        try:
            operation = operation_of(method, candidate, query)
        except (NotGitError, MethodNotAllowedError):
            continue
        names = operation.repository.split("/")
        assert not {"", ".", "..", ".git"} & set(names)
        assert names[0] != "-"
        assert not operation.repository.endswith(".git")
        assert not re.search(r"[\x00-\x1f\x7f\\]", operation.repository)
        assert len(names) == len(operation.path)


QUERY = st.lists(
    st.sampled_from(["service", "=", "&", ";", "%3d", "%26", "+", "%00", "a", "servic%65", *Service])
    | st.text(max_size=3),
    max_size=7,
).map("".join)
LIKE_PATH = st.lists(st.text(max_size=4) | PARTS, min_size=1, max_size=6).map("".join)


@given(LIKE_PATH, st.sampled_from(["", *Service]).map("service={}".format) | QUERY)
def test_what_is_understood_is_asked_for_again_in_the_same_words(path: str, query: str) -> None:
    """A server behind gets an address that is made anew; it must not mean anything else."""
    for endpoint in ("info/refs", "HEAD"):
        try:
            operation = operation_of("GET", f"/{path}/{endpoint}", query)
        except NotGitError:
            continue
        again = "".join(f"/{quote(segment, safe='')}" for segment in operation.path)
        assert operation_of("GET", f"{again}/{endpoint}", operation.query) == operation
        services = URL.build(query_string=query, encoded=True).query.getall("service", [])
        assert endpoint == "HEAD" or services == ([operation.service] if operation.service else [])


WORD = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
NAME = st.lists(
    WORD
    | st.sampled_from(["-", ".", "..", "...", ".git", "x.git", "..git", ".git.git", "info", "HEAD"]),
    min_size=1,
    max_size=4,
)


@given(NAME, st.sampled_from(ENDPOINTS), st.lists(st.sampled_from("cxX"), min_size=1, max_size=9))
def test_however_a_name_is_quoted_it_is_the_same_repository(
    names: list[str], row: Row, manner: list[str]
) -> None:
    method, endpoint, query, *_ = row
    characters = enumerate("/".join(name.replace("/", "") or "x" for name in names))
    raw = "".join(quoted(character, manner[at % len(manner)]) for at, character in characters)
    path = unquote(raw)
    try:
        operation = operation_of(method, f"/{raw}/{endpoint}", query)
    except NotGitError:
        assert not is_a_repository(path)
    else:
        assert is_a_repository(path)
        assert (operation.repository, operation.endpoint) == (path.removesuffix(".git"), endpoint)
        assert path != path.strip(" ") or typed_repository(f"/{path}/") == operation.repository


def quoted(character: str, manner: str) -> str:
    if character == "/" or (manner == "c" and character != "%"):
        return character
    return "".join(f"%{byte:02{manner.replace('c', 'x')}}" for byte in character.encode())


def is_a_repository(path: str) -> bool:
    """None of a file system's own names, of the pages' addresses, nor a second name of another."""
    segments, name = path.split("/"), path.removesuffix(".git")
    leads_elsewhere = {"", ".", "..", ".git"} & {*segments, *name.split("/")}
    has_controls = any(unicodedata.category(c) == "Cc" for c in path) or "\\" in path
    return not (leads_elsewhere or has_controls or segments[0] == "-" or name.endswith(".git"))
