"""Pushes whose refs are limited, with the real git, over a folder of repositories and an upstream."""

import gzip
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gitpat_proxy.git.pktline import pkt_line
from tests.support.git import Git, commit
from tests.support.proxy import wait_until
from tests.support.pushes import ROUTES, Pusher, Site, site_below
from tests.support.raw import EMPTY_PACK, connect, service_request, status_of
from tests.support.tools import require

NONE = "0" * 40
MAIN_DENIED = 'token "ci-agent" may not update refs/heads/main'
REJECTED = f" ! [remote rejected] main -> main ({MAIN_DENIED})"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_below(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def assert_refused(pusher: Pusher, text: str, *lines: str) -> None:
    """Whatever git printed has these lines, and nothing was done."""
    for line in (*lines, "remote: Nothing was pushed (request "):
        assert line in text
    assert "broken pipe" not in text.lower()
    last = pusher.last_line()
    assert (last["code"], last["status"], last["complete"]) == ("ref_denied", 200, True)
    assert not pusher.was_forwarded()


def test_a_push_to_a_ref_that_is_not_the_tokens(site: Site, route: str) -> None:
    pusher = site.pusher(route, "refs/heads/agent/**")
    before, new = pusher.refs(), pusher.commit()
    outcome = pusher.push("main", "main:agent/x", "main:refs/tags/v1")
    because = "not pushed because of refs/heads/main"
    assert_refused(
        pusher,
        outcome.text,
        REJECTED,
        f" ! [remote rejected] main -> agent/x ({because})",
        ' ! [remote rejected] main -> v1 (token "ci-agent" may not create refs/tags/v1)',
    )
    assert pusher.refs() == before
    pusher.git("fsck", "--strict", cwd=pusher.repository)
    [refused] = pusher.audit()
    assert (refused["event"], refused["details"]["code"]) == ("refused", "ref_denied")
    assert f"(request {refused['request']})" in outcome.text
    kept = {update["ref"]: update for update in refused["details"]["updates"]}
    assert kept.pop("refs/heads/agent/x") == {
        "ref": "refs/heads/agent/x",
        "old": NONE,
        "new": new,
        "outcome": "ng",
        "reason": because,
    }
    assert {update["reason"] for update in kept.values()} == {
        MAIN_DENIED,
        'token "ci-agent" may not create refs/tags/v1',
    }


RULES = [
    "refs/heads/main=update",
    "refs/heads/release/*=create",
    "refs/heads/**=create,update,force,delete",
    "refs/tags/v*=create",
    "refs/notes/*=create,force",
]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["main"], None),
        (["main:topic"], None),
        (["+main~3:free"], None),
        ([":free"], None),
        ([":main"], 'token "ci-agent" may not delete refs/heads/main'),
        (["main:release/1"], None),
        (["main:release/0"], 'token "ci-agent" may not update refs/heads/release/0'),
        ([":release/0"], 'token "ci-agent" may not delete refs/heads/release/0'),
        (["main:refs/tags/v2"], None),
        (["+main:refs/tags/v1"], 'token "ci-agent" may not update refs/tags/v1'),
        (["main:refs/tags/x"], 'token "ci-agent" may not create refs/tags/x'),
        (["--tags"], None),
        (["refs/notes/commits"], None),
        (["--delete", "refs/notes/old"], 'token "ci-agent" may not delete refs/notes/old'),
        (["main:refs/changes/1"], 'token "ci-agent" may not create refs/changes/1'),
        (["--mirror"], 'token "ci-agent" may not create refs/remotes/origin/main'),
        (["--atomic", "main", "main:refs/tags/v3"], None),
        (["--atomic", "main", "main:refs/tags/x"], 'token "ci-agent" may not create refs/tags/x'),
        (["--force-with-lease=free", "+main~3:free"], None),
        (["--force-with-lease=release/0", "+main:release/0"], "may not update refs/heads/release/0"),
        (["--push-option=ci.skip", "main"], None),
        (["--push-option=ci.skip", "main:refs/tags/x"], 'token "ci-agent" may not create refs/tags/x'),
    ],
)
def test_every_way_to_push(site: Site, route: str, arguments: list[str], reason: str | None) -> None:
    pusher = site.pusher(route, *RULES)
    git = pusher.git
    for ref in ("refs/heads/free", "refs/heads/release/0", "refs/tags/v1", "refs/notes/old"):
        git("update-ref", ref, "main~1" if "heads" in ref else "main", cwd=pusher.repository)
    git("config", "receive.advertisePushOptions", "true", cwd=pusher.repository)
    git("fetch", "--quiet", "--tags", "origin", cwd=pusher.work)
    pusher.commit()
    git("tag", "v9", cwd=pusher.work)
    git("notes", "add", "--message", "Seen", cwd=pusher.work)
    before = pusher.refs()
    outcome = pusher.push(*arguments)
    assert outcome.ok is (reason is None), outcome.text
    if reason:
        assert_refused(pusher, outcome.text, reason)
    assert (pusher.refs() == before) is (reason is not None)


# History


def test_git_itself_refuses_what_is_no_fast_forward(site: Site) -> None:
    pusher = site.pusher("folder", "refs/heads/free=update,force", "refs/heads/*")
    git = pusher.git
    git("config", "receive.denyNonFastForwards", "false", cwd=pusher.repository)
    git("branch", "free", "main", cwd=pusher.repository)
    pusher.commit()
    assert pusher.push("main", "main:free").ok
    before, new = pusher.refs(), pusher.rewrite()
    outcome = pusher.push("+main")
    assert "remote: error: denying non-fast-forward refs/heads/main" in outcome.text
    assert " ! [remote rejected] main -> main (non-fast-forward)" in outcome.text
    assert pusher.push("+main:free").ok
    assert pusher.refs() == before | {"refs/heads/free": new}
    pusher.rewrite()
    both = pusher.push("+main", "+main:free", "main:new").text
    assert both.count("(non-fast-forward)") == 2
    assert "[new branch]" in both
    [*_, push] = pusher.audit()
    assert {update["ref"]: update.get("reason") for update in push["details"]["updates"]} == {
        "refs/heads/free": "non-fast-forward",
        "refs/heads/main": "non-fast-forward",
        "refs/heads/new": None,
    }


def test_a_replacement_makes_no_fast_forward(site: Site) -> None:
    """One pushed before would let any commit look as if it followed main."""
    pusher = site.pusher("folder", "refs/replace/*", "refs/heads/main")
    git, before = pusher.git, pusher.refs()["refs/heads/main"]
    other = git("commit-tree", "-m", "Other", "main^{tree}", cwd=pusher.work).strip()
    following = git("commit-tree", "-m", "x", "-p", before, "main^{tree}", cwd=pusher.work).strip()
    assert pusher.push(f"{following}:refs/replace/{other}").ok
    assert "(non-fast-forward)" in pusher.push(f"+{other}:main").text
    assert pusher.refs()["refs/heads/main"] == before


def test_an_upstream_that_protects_history_decides_itself(site: Site) -> None:
    pusher = site.pusher("upstream", "refs/heads/*", "refs/tags/*")
    pusher.git("config", "receive.denyNonFastForwards", "true", cwd=pusher.repository)
    pusher.commit()
    assert pusher.push("main", "main:refs/tags/v1").ok
    pusher.rewrite()
    assert " ! [remote rejected] main -> main (non-fast-forward)" in pusher.push("+main").text
    assert pusher.push("+main:refs/tags/v1").ok


def test_before_an_upstream_that_may_not_an_update_needs_force(site: Site) -> None:
    pusher = site.pusher("unknown", "refs/heads/free=force", "refs/heads/*=create,update")
    pusher.git("branch", "free", "main", cwd=pusher.repository)
    pusher.commit()
    before = pusher.refs()
    outcome = pusher.push("main", "main:new")
    reason = (
        'token "ci-agent" may not force refs/heads/main: this proxy can\'t tell whether it is a '
        "fast-forward"
    )
    assert_refused(pusher, outcome.text, f" ! [remote rejected] main -> main ({reason})")
    assert pusher.refs() == before
    assert pusher.push("main:new", "main:free").ok
    assert set(pusher.refs()) == {*before, "refs/heads/new"}


def test_a_tag_that_may_be_updated_needs_force(site: Site) -> None:
    pusher = site.pusher("folder", "refs/tags/v1", "refs/tags/*=force")
    for tag in ("v1", "v2"):
        pusher.git("tag", tag, "main", cwd=pusher.repository)
    pusher.commit()
    outcome = pusher.push("+main:refs/tags/v1")
    assert_refused(
        pusher,
        outcome.text,
        "may not force refs/tags/v1: outside refs/heads/ every update counts as forced)",
    )
    assert pusher.push("+main:refs/tags/v2").ok


@pytest.mark.parametrize("target", ["refs/heads/main", "refs/heads/not-there"])
@pytest.mark.parametrize("refspec", ["main:agent/alias", ":agent/alias"])
def test_a_symbolic_ref_is_no_way_around_a_rule(site: Site, target: str, refspec: str) -> None:
    pusher = site.pusher("folder", "refs/heads/agent/**=create,update,force,delete")
    pusher.git("symbolic-ref", "refs/heads/agent/alias", target, cwd=pusher.repository)
    new = pusher.commit()
    before = pusher.refs()
    if refspec.startswith(":") and "agent/alias" not in str(before):
        # What git would not send: of a ref that is not advertised.
        answer = pusher.post(command(new, NONE, "refs/heads/agent/alias") + b"0000")
    else:
        answer = pusher.push(refspec).text.encode()
    assert b"refs/heads/agent/alias: it stands for another ref; push to that one" in answer
    assert pusher.refs() == before


# What a push may bring along


@pytest.mark.parametrize(("route", "denied"), [("folder", True), ("upstream", False)])
def test_many_refs(site: Site, route: str, *, denied: bool) -> None:
    """git itself takes long to go through so many."""
    rules = ["refs/heads/agent/4999=none"] if denied else []
    pusher = site.pusher(route, *rules, "refs/heads/agent/**")
    new = pusher.commit()
    names = "".join(f"create refs/heads/agent/{number} {new}\n" for number in range(5000))
    pusher.git("update-ref", "--stdin", cwd=pusher.work, stdin=names.encode())
    push = pusher.git.start(
        "push", "--quiet", pusher.url, "refs/heads/agent/*:refs/heads/agent/*", cwd=pusher.work
    )
    text = push.communicate(timeout=900)[0].decode()
    if denied:
        assert_refused(pusher, text, '(token "ci-agent" may not create refs/heads/agent/4999)')
        assert text.count("(not pushed because of refs/heads/agent/4999)") == 4999
    else:
        assert (push.returncode, text) == (0, "")
    assert len(pusher.refs()) == (1 if denied else 5001)


@pytest.mark.parametrize("buffer", ["65536", "536870912"], ids=["chunked", "content-length"])
def test_a_large_push_is_refused_in_words(site: Site, route: str, buffer: str) -> None:
    settings = {"core.compression": "0", "http.postBuffer": buffer, "core.bigFileThreshold": "1m"}
    pusher = site.pusher(route, "refs/heads/agent/**", config=settings)
    commit(pusher.git, pusher.work, "large.bin", os.urandom(200 * 1024 * 1024))
    assert_refused(pusher, pusher.push("main").text, REJECTED)


def test_a_repository_with_sha_256(site: Site, route: str) -> None:
    pusher = site.pusher(route, "refs/heads/agent/**", options=("--object-format=sha256",))
    pusher.commit()
    assert pusher.push("main:agent/x").ok
    assert_refused(pusher, pusher.push("main").text, REJECTED)


@pytest.fixture
def folder_of_keys() -> Iterator[Path]:
    """Its path is short, for the sake of a socket in it; gpg's agent ends with it."""
    with tempfile.TemporaryDirectory(prefix="keys-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.parametrize("signature", ["openpgp", "ssh"])
def test_a_signed_push(site: Site, route: str, signature: str, folder_of_keys: Path) -> None:
    pusher = site.pusher(route, "refs/heads/agent/**")
    pusher.git("config", "receive.certNonceSeed", "seed", cwd=pusher.repository)
    sign_with(pusher.git, signature, folder_of_keys)
    pusher.commit()
    outcome = pusher.push("--signed", "main:agent/x")
    assert outcome.ok, outcome.text
    assert_refused(pusher, pusher.push("--signed", "main", "main:agent/y").text, REJECTED)


def sign_with(git: Git, signature: str, folder: Path) -> None:
    """Give somebody a key."""
    git.config["gpg.format"] = signature
    if signature == "ssh":
        require("ssh-keygen")
        key = folder / "key"
        run(git, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        git.config["user.signingKey"] = str(key)
    else:
        require("gpg")
        git.variables["GNUPGHOME"] = str(folder)
        run(git, "gpg", "--batch", "--passphrase", "", "--quick-gen-key", "Ada <ada@example.org>")


def run(git: Git, *command: str) -> None:
    subprocess.run(command, env=git.environment, check=True, capture_output=True, timeout=60)


# What git would not send


def command(old: str, new: str, ref: str, capabilities: str = "report-status") -> bytes:
    return pkt_line(f"{old} {new} {ref}\0 {capabilities}\n".encode())


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_push_that_is_gzipped(site: Site, route: str, encoding: str) -> None:
    pusher = site.pusher(route, "refs/heads/agent/**")
    head = pusher.refs()["refs/heads/main"]
    for ref, line in [
        ("refs/heads/agent/x", b"ok refs/heads/agent/x"),
        ("refs/heads/x", b'ng refs/heads/x token "ci-agent" may not create refs/heads/x'),
    ]:
        body = gzip.compress(command(NONE, head, ref) + b"0000" + EMPTY_PACK)
        assert line in pusher.post(body, f"Content-Encoding: {encoding}")
    assert set(pusher.refs()) == {"refs/heads/main", "refs/heads/agent/x"}


def test_a_client_that_asks_for_no_report_gets_a_status(site: Site, route: str) -> None:
    pusher = site.pusher(route, "refs/heads/agent/**")
    answer = pusher.post(command(NONE, "1" * 40, "refs/heads/x", "ofs-delta") + b"0000")
    assert status_of(answer) == 403
    assert b'token "ci-agent" may not create refs/heads/x. (request ' in answer
    assert not pusher.was_forwarded()


GOOD = command(NONE, "1" * 40, "refs/heads/agent/x")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        *[(body, "can't be read") for body in (b"", b"garbage", GOOD, GOOD + b"00", GOOD + b"0001")],
        *[(body, "can't be read") for body in (pkt_line(b"hello") + b"0000", b"0003", GOOD + b"0005")],
        (GOOD + pkt_line(b"hello") + b"0000", "can't be read"),
        (pkt_line(b"push-cert\0report-status") + b"0000", "can't be read"),
        (command("1" * 40, "1" * 64, "refs/heads/agent/x") + b"0000", "can't be read"),
        (command(NONE, NONE, "refs/heads/agent/x") + b"0000", "git knows no such change or name"),
        (command(NONE, "1" * 40, "HEAD") + b"0000", "git knows no such change or name"),
        (command(NONE, "1" * 40, "refs/heads/agent/../main") + b"0000", "no such change or name"),
        (command("1" * 40, NONE, "refs/heads/agent//x") + b"0000", "no such change or name"),
    ],
)
def test_what_is_not_clear_is_never_forwarded(
    site: Site, route: str, body: bytes, sentence: str
) -> None:
    pusher = site.pusher(route, "**=create,update,force,delete")
    before = pusher.refs()
    assert sentence.encode() in pusher.post(body)
    assert pusher.last_line()["code"] in {"commands_unclear", "ref_malformed"}
    assert not pusher.was_forwarded()
    assert pusher.refs() == before


def test_a_probe_is_answered(site: Site, route: str) -> None:
    assert status_of(site.pusher(route, "refs/heads/x").post(b"0000")) == 200


def test_too_many_commands(site: Site, route: str) -> None:
    """A list as long as it may be is decided, one that is longer is refused."""
    pusher = site.pusher(route, "refs/heads/agent/**")
    lines = b"".join(
        pkt_line(f"{NONE} {'1' * 40} refs/heads/agent/{number:06}".encode()) for number in range(20_000)
    )
    answer = pusher.post(GOOD + lines + command(NONE, "1" * 40, "refs/heads/y") + b"0000")
    assert b'ng refs/heads/y token "ci-agent" may not create refs/heads/y' in answer
    assert answer.count(b"not pushed because of refs/heads/y") == 20_001
    assert b"The push names more refs than fit into 8 MiB" in pusher.post(GOOD + 5 * lines + b"0000")
    assert pusher.last_line()["code"] == "too_many_refs"
    assert not pusher.was_forwarded()


@pytest.mark.parametrize("where", [2, 60, 200, 100_000])
def test_a_client_that_stops_among_the_commands(site: Site, route: str, where: int) -> None:
    pusher = site.pusher(route, "refs/heads/agent/**")
    lines = [command(NONE, "1" * 40, f"refs/heads/agent/{number}") for number in range(2000)]
    body = b"".join(lines) + b"0000"
    request = service_request("git-receive-pack", pusher.secret, body, repository=pusher.path)
    with closing(connect(pusher.site.proxy.port)) as connection:
        connection.sendall(request[: len(request) - len(body) + where])
    wait_until(lambda: not pusher.last_line()["complete"], what="an end")
    assert not pusher.was_forwarded()


def test_a_push_without_limits_waits_for_nothing(site: Site) -> None:
    """git has what has come, before its list of commands has ended."""
    proxy = site.proxy
    pusher = site.pusher("folder")
    secret = proxy.make_token("code:write")[0]
    lines = b"".join(command(NONE, "1" * 40, f"refs/heads/{number}") for number in range(2000))
    request = service_request("git-receive-pack", secret, lines + b"0000", repository=pusher.path)
    with closing(connect(proxy.port)) as connection:
        connection.sendall(request[:-1000])
        wait_until(proxy.children, what="a git")
    wait_until(lambda: not proxy.children(), what="its end")
