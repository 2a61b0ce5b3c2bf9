"""Every row of the design's table of refusals: status, code, and what git prints."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitpat_proxy.access.model import Author
from gitpat_proxy.access.secret import make_secret
from gitpat_proxy.git.pktline import pkt_line
from tests.support.git import Git, make_repository
from tests.support.proxy import Proxy, wait_until
from tests.support.raw import (
    basic,
    connect,
    exchange,
    pack_beginning,
    request_bytes,
    service_request,
    status_of,
)
from tests.support.secrets_seen import SEEN
from tests.support.visitor import person

ADVERTISEMENT = "/team/app/info/refs?service=git-upload-pack"
UPLOAD_PACK = "Content-Type: application/x-git-upload-pack-request"


def ask(proxy: Proxy, secret: str, target: str = ADVERTISEMENT) -> tuple[int, str]:
    return proxy.get(target, {"Authorization": basic(secret)})


def last_code(proxy: Proxy) -> Any:
    return proxy.log_lines()[-1]["code"]


def refused_token(proxy: Proxy, why: str) -> str:
    """Return the secret of a token that is refused for that reason."""
    facts: dict[str, dict[str, Any]] = {
        "token_not_yet_valid": {"not_before": "1d"},
        "address_denied": {"addresses": ["192.0.2.0/24"]},
        "scope_missing": {"scopes": ["work_items:read"]},
    }
    account = "disabled" if why == "account_disabled" else "alice"
    secret, token = proxy.make_token("code:write", account=account, **facts.get(why, {}))
    if why == "token_revoked":
        proxy.services(lambda services: services.tokens.revoke([token.id], "leaked", by=Author("test")))
    if why == "account_disabled":
        proxy.services(lambda services: services.accounts.disable("disabled", by=Author("test")))
    return secret


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("token_revoked", 'The token "Test" ({id}) was revoked on '),
        ("token_not_yet_valid", 'The token "Test" ({id}) is valid from '),
        ("account_disabled", "The account disabled, which owns the token "),
        ("address_denied", 'The token "Test" ({id}) may not be used from the address 127.0.0.1.'),
        (
            "scope_missing",
            'The token "Test" ({id}) has the scope work_items:read, but git-upload-pack needs code:',
        ),
    ],
)
def test_a_known_token_that_is_refused(shared_proxy: Proxy, code: str, sentence: str) -> None:
    secret = refused_token(shared_proxy, code)
    token_id = shared_proxy.services(lambda services: services.tokens.find(secret))[0].id
    git = Git(shared_proxy.home(code), secret)
    outcome = git.try_("ls-remote", f"{shared_proxy.url}/team/app")
    assert f"remote: {sentence.format(id=token_id)}" in outcome.text
    assert "fatal: Authentication failed for" in outcome.text
    line = shared_proxy.log_lines()[-1]
    assert (line["status"], line["code"], line["token"]) == (401, code, token_id)
    assert line["request"] in outcome.text
    events = shared_proxy.audit_of(2 + (code == "token_revoked"), "--token", token_id)
    assert events[-1]["event"] == "refused"
    assert events[-1]["details"]["code"] == code


def test_the_token_of_a_service_is_not_sent_to_a_page(shared_proxy: Proxy) -> None:
    """Nobody signs in as a service; people are told where they can do something about it."""
    person(shared_proxy, "robot", password=None, service=True)
    for account, is_told in (("alice", True), ("robot", False)):
        secret, _ = shared_proxy.make_token("work_items:read", account=account)
        status, text = ask(shared_proxy, secret)
        assert (status, "Go to http" in text) == (401, is_told)
        assert "has the scope work_items:read, but git-upload-pack needs code:read." in text


def test_no_credentials_are_asked_for(shared_proxy: Proxy) -> None:
    answer = exchange(shared_proxy.port, request_bytes("GET", ADVERTISEMENT))
    assert status_of(answer) == 401
    head = answer.decode().lower()
    assert head.count("www-authenticate:") == 1
    assert 'www-authenticate: basic realm="' in head
    assert 'charset="utf-8"' in head
    assert "content-type: text/plain; charset=utf-8" in head
    assert last_code(shared_proxy) == "credentials_missing"


@pytest.mark.parametrize("secret", ["not-a-token", "hunter2", "gpat_short"])
def test_what_is_no_token_gets_the_same_sentence(shared_proxy: Proxy, secret: str) -> None:
    unknown = make_secret()
    SEEN.secrets.add(unknown)
    answers = {
        ask(shared_proxy, text)[1].split("(request")[0]
        for text in [secret, unknown, unknown[:-1] + ("A" if unknown[-1] != "A" else "B")]
    }
    assert len(answers) == 1
    assert "not a valid personal access token" in answers.pop()


def test_repositories_are_hidden_from_those_without_valid_credentials(shared_proxy: Proxy) -> None:
    """Existing or not, the answers are alike to the last byte but for the request's id."""
    unknown = make_secret()
    SEEN.secrets.add(unknown)
    for headers in [{}, {"Authorization": basic(unknown)}]:
        existing, missing = (
            shared_proxy.get(f"/{name}/info/refs?service=git-upload-pack", headers)
            for name in ["team/app", "team/nothing"]
        )
        assert existing[0] == missing[0] == 401
        assert existing[1].split("(request")[0] == missing[1].split("(request")[0]


@pytest.mark.parametrize("service", ["git-upload-pack", "git-receive-pack"])
def test_a_missing_repository(shared_proxy: Proxy, service: str) -> None:
    git = shared_proxy.git("code:write", home="missing")
    outcome = git.try_("ls-remote", f"{shared_proxy.url}/team/nothing.git")
    assert "remote: There is no repository team/nothing that this token reaches." in outcome.text
    assert "not found" in outcome.text
    status, _ = ask(shared_proxy, git.secret, f"/team/nothing/info/refs?service={service}")
    assert (status, last_code(shared_proxy)) == (404, "repository_not_found")


def test_a_token_without_the_scope_does_not_learn_which_repositories_exist(
    shared_proxy: Proxy,
) -> None:
    secret, _ = shared_proxy.make_token("work_items:read")
    for name in ["team/app", "team/nothing"]:
        status, _ = ask(shared_proxy, secret, f"/{name}/info/refs?service=git-upload-pack")
        assert (status, last_code(shared_proxy)) == (401, "scope_missing")


def test_reading_does_not_allow_to_push(shared_proxy: Proxy) -> None:
    git = shared_proxy.git("code:read", home="reader")
    git("clone", "--quiet", f"{shared_proxy.url}/team/app", "work")
    outcome = git.try_("push", "origin", "main:mine", cwd=git.home / "work")
    assert "has the scope code:read, but git-receive-pack needs code:write." in outcome.text
    status, _ = shared_proxy.get("/team/app/git-receive-pack")
    assert status == 405
    answer = exchange(shared_proxy.port, service_request("git-receive-pack", git.secret, b"0000"))
    assert status_of(answer) == 401


def test_403_for_a_missing_scope_where_the_configuration_says_so(
    start_proxy: Callable[..., Proxy],
) -> None:
    proxy = start_proxy(missing_scope_status=403)
    make_repository(proxy.repositories / "app.git")
    git = proxy.git("work_items:read")
    outcome = git.try_("ls-remote", f"{proxy.url}/app")
    assert "needs code:read" in outcome.text
    assert "The requested URL returned error: 403" in outcome.text


def test_too_many_unknown_tokens_from_one_address(start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(limits={"unknown_tokens": 3})
    make_repository(proxy.repositories / "team" / "app.git")
    same = make_secret()
    secrets = [same] * 10 + [make_secret() for _ in range(3)]
    SEEN.secrets.update(secrets)
    assert [ask(proxy, secret)[0] for secret in secrets] == [401] * 12 + [429]
    answer = exchange(
        proxy.port, request_bytes("GET", ADVERTISEMENT, f"Authorization: {basic(make_secret())}")
    )
    assert status_of(answer) == 429
    assert b"Retry-After: " in answer
    outcome = Git(proxy.home(), make_secret()).try_("ls-remote", f"{proxy.url}/team/app")
    assert "Too many unknown tokens came from the address 127.0.0.1" in outcome.text
    good, _ = proxy.make_token("code:read")
    assert ask(proxy, good)[0] == 200


def test_too_many_operations_at_once(start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(limits={"operations": 1, "waiting_seconds": 1})
    make_repository(proxy.repositories / "team" / "app.git")
    git = proxy.git("code:write")
    held = exchange_begun(proxy, git.secret)
    outcome = git.try_("ls-remote", f"{proxy.url}/team/app")
    assert "Too many operations are under way; try again in 5 seconds." in outcome.text
    assert (proxy.log_lines()[-1]["status"], last_code(proxy)) == (503, "busy")
    held.close()


def exchange_begun(proxy: Proxy, secret: str) -> Any:
    """Begin a push and leave it at that."""
    connection = connect(proxy.port)
    command = pkt_line(b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/held\0report-status")
    body = command + b"0000" + pack_beginning(100_000)
    connection.sendall(service_request("git-receive-pack", secret, body, "Content-Length: 200000"))
    wait_until(proxy.children, what="git")
    return connection


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/team/app/info/refs?service=git-foo", 404, "not_git"),
        (
            "GET",
            "/team/app/info/refs?service=git-upload-pack&service=git-receive-pack",
            404,
            "not_git",
        ),
        ("GET", "/team/app", 404, "not_git"),
        ("GET", "/team/app/config", 404, "not_git"),
        ("GET", "/team/../team/app/HEAD", 404, "not_git"),
        ("GET", "/team%2fapp/HEAD", 404, "not_git"),
        ("GET", "/team/app/.git/HEAD", 404, "not_git"),
        ("GET", "/team/app/git-upload-pack", 405, "method_not_allowed"),
        ("POST", "/team/app/info/refs?service=git-upload-pack", 405, "method_not_allowed"),
        ("PUT", "/team/app/HEAD", 405, "method_not_allowed"),
        ("HEAD", "/team/app/info/refs?service=git-upload-pack", 405, "method_not_allowed"),
        ("PROPFIND", "/team/app/info/refs", 405, "method_not_allowed"),
    ],
)
def test_what_git_does_not_ask(
    shared_proxy: Proxy, method: str, target: str, status: int, code: str
) -> None:
    """Decided before anybody looks at credentials or the disk."""
    answer = exchange(shared_proxy.port, request_bytes(method, target))
    assert (status_of(answer), last_code(shared_proxy)) == (status, code)


@pytest.mark.parametrize("target", ["/-/nothing", "/-/team/app/info/refs", "/%2d/x"])
def test_the_proxys_own_addresses_are_no_repositories(shared_proxy: Proxy, target: str) -> None:
    assert shared_proxy.get(target)[0] == 404


@pytest.mark.parametrize(
    "target",
    [
        "HEAD",
        "info/refs",
        "objects/info/packs",
        "objects/aa/" + "0" * 38,
        "objects/pack/pack-" + "0" * 40 + ".pack",
    ],
)
def test_the_dumb_protocol_is_off(shared_proxy: Proxy, target: str) -> None:
    secret, _ = shared_proxy.make_token("code:read")
    status, text = ask(shared_proxy, secret, f"/team/app/{target}")
    assert (status, last_code(shared_proxy)) == (404, "dumb_protocol_off")
    assert "The dumb protocol is off here" in text


def test_the_dumb_protocol_where_a_route_allows_it(start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(routes=[{"path": "/", "repositories": "repositories", "dumb_protocol": True}])
    make_repository(proxy.repositories / "app.git")
    git = proxy.git("code:read", variables={"GIT_SMART_HTTP": "0"})
    git("clone", "--quiet", f"{proxy.url}/app", "work")
    assert git("rev-list", "--count", "HEAD", cwd=git.home / "work").strip() == "3"
    secret, _ = proxy.make_token("work_items:read")
    assert ask(proxy, secret, "/app/HEAD")[0] == 401


def test_what_a_token_opens_is_for_no_cache_and_no_browser(start_proxy: Callable[..., Proxy]) -> None:
    """git http-backend would let anybody keep a loose object; a browser would show a page."""
    proxy = start_proxy(routes=[{"path": "/", "repositories": "repositories", "dumb_protocol": True}])
    git = proxy.git("code:read", home="files")
    path = make_repository(proxy.repositories / "app.git", commits=0)
    name = git("hash-object", "-w", "--stdin", cwd=path, stdin=b"<script></script>").strip()
    target = f"/app/objects/{name[:2]}/{name[2:]}"
    credentials = f"Authorization: {basic(git.secret)}"
    head, _, _ = exchange(proxy.port, request_bytes("GET", target, credentials)).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert b"Cache-Control: no-store" in lines
    assert b"X-Content-Type-Options: nosniff" in lines
    assert b"Content-Security-Policy: sandbox; default-src 'none'" in lines
    assert not [line for line in lines if line.lower().startswith((b"expires:", b"last-modified:"))]


def test_a_service_that_the_repository_switches_off(shared_proxy: Proxy) -> None:
    path = make_repository(shared_proxy.repositories / "closed.git")
    git = shared_proxy.git("code:write", home="closed")
    git("config", "http.receivepack", "false", cwd=path)
    git("clone", "--quiet", f"{shared_proxy.url}/closed", "work")
    outcome = git.try_("push", "origin", "main:other", cwd=git.home / "work")
    assert "The repository closed does not allow git-receive-pack over HTTP." in outcome.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Content-Type: text/plain", "Content-Length: 4"], 415),
        ([UPLOAD_PACK, "Content-Encoding: br", "Content-Length: 4"], 415),
        ([UPLOAD_PACK, "Transfer-Encoding: gzip, chunked"], 400),
        ([UPLOAD_PACK, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], 400),
        ([UPLOAD_PACK, "Transfer-Encoding: chunked", "Content-Length: 4"], 400),
    ],
)
def test_bodies_that_could_be_read_in_two_ways(
    shared_proxy: Proxy, headers: list[str], status: int
) -> None:
    secret, _ = shared_proxy.make_token("code:read")
    authorization = f"Authorization: {basic(secret)}"
    request = request_bytes("POST", "/team/app/git-upload-pack", authorization, *headers, body=b"0000")
    assert status_of(exchange(shared_proxy.port, request)) == status


def test_what_is_refused_only_at_the_post_is_told_in_a_packet(shared_proxy: Proxy) -> None:
    secret, _ = shared_proxy.make_token("code:read")
    request = service_request("git-upload-pack", secret, b"0000", repository="team/nothing")
    answer = exchange(shared_proxy.port, request)
    assert status_of(answer) == 200
    assert b"ERR There is no repository team/nothing that this token reaches." in answer
    assert last_code(shared_proxy) == "repository_not_found"


MALFORMED = st.one_of(
    st.text(st.characters(codec="latin-1", exclude_characters="\0\r\n"), max_size=60),
    st.text(st.characters(codec="latin-1", exclude_characters="\0\r\n"), max_size=60).map(
        lambda text: "Basic " + text
    ),
    st.binary(max_size=60).map(lambda data: "Basic " + base64.b64encode(data).decode()),
    st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=60).map(
        lambda text: "Bearer " + text
    ),
)


@pytest.fixture(scope="module")
def patient_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that bears any number of guesses."""
    folder = tmp_path_factory.mktemp("patient") / "proxy"
    proxy = Proxy(folder, limits={"unknown_tokens": 1_000_000}).start()
    yield proxy
    proxy.stop()


@settings(max_examples=200, deadline=None)
@given(value=MALFORMED)
def test_malformed_authorization_in_many_shapes(patient_proxy: Proxy, value: str) -> None:
    request = request_bytes("GET", ADVERTISEMENT, f"Authorization: {value}")
    status = status_of(exchange(patient_proxy.port, request))
    # 400 is aiohttp's own word on bytes that no header may have (RFC 9110, section 5.5).
    assert status == 401 or (status == 400 and any(ord(c) < 32 or ord(c) == 127 for c in value))


def test_two_authorization_headers(shared_proxy: Proxy) -> None:
    secret, _ = shared_proxy.make_token("code:read")
    authorization = f"Authorization: {basic(secret)}"
    request = request_bytes("GET", ADVERTISEMENT, authorization, authorization)
    assert status_of(exchange(shared_proxy.port, request)) == 401
    assert last_code(shared_proxy) == "credentials_malformed"


def test_a_bearer_token(shared_proxy: Proxy) -> None:
    secret, _ = shared_proxy.make_token("code:read")
    status, _ = shared_proxy.get(ADVERTISEMENT, {"Authorization": f"Bearer {secret}"})
    assert status == 200
