"""git missing, killed, hanging, failing; repositories that it may not read or write."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gitpat_proxy.git.pktline import pkt_line
from tests.support.faults_git import FakeGit, Served, obey_modes, running
from tests.support.git import commit, kill
from tests.support.proxy import Proxy, wait_until
from tests.support.raw import exchange, service_request, status_of
from tests.support.relay import StallingRelay
from tests.support.tools import skip

MEBIBYTE = 1024 * 1024
ADVERTISEMENT = "printf 'Content-Type: application/x-git-upload-pack-advertisement\\r\\n\\r\\n'"
RESULT = "printf 'Content-Type: application/x-git-upload-pack-result\\r\\n\\r\\n'"
RECEIVED = "printf 'Content-Type: application/x-git-receive-pack-result\\r\\n\\r\\n'"
OWN_BEGINNING = "printf '001e# service=git-upload-pack\\n0000'"
HALF_A_PACKET = "cat >/dev/null; printf '000dpackfi'"
HANG = "exec sleep 1000"
TELL = "; tell those who run it."
TOO_LATE = "The Git server behind this proxy did not answer in time."


@pytest.fixture(scope="module")
def fake_git(tmp_path_factory: pytest.TempPathFactory) -> FakeGit:
    return FakeGit(tmp_path_factory.mktemp("git") / "fake")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, fake_git: FakeGit) -> Iterator[Proxy]:
    """A proxy whose git can be told to fail, and whose modes count for root too."""
    folder = tmp_path_factory.mktemp("faulty")
    limits = {"first_byte_seconds": 3, "spool_bytes": "1MiB"}
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            obey_modes(patch, folder)
            proxy = running(folder / "proxy", fake_git.environment, limits=limits)
            started = stack.enter_context(proxy)
        yield started


@pytest.fixture
def served(faulty: Proxy, fake_git: FakeGit) -> Iterator[Served]:
    yield Served(faulty)
    fake_git.recover()


def test_git_is_gone_while_the_proxy_serves(served: Served, fake_git: FakeGit) -> None:
    fake_git.program.unlink()
    for outcome in (served.git.try_("ls-remote", served.url), served.try_push()):
        assert f"can't start git (No such file or directory){TELL}" in outcome.text
        assert "The requested URL returned error: 502" in outcome.text
    assert served.refused("upstream_failed") == [502, 502]
    assert "can't start git (No such file or directory)" in served.lines()[-1]["reason"]
    fake_git.recover()
    served.assert_recovered()


def test_a_start_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy(tmp_path / "proxy")
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = proxy.cli("serve")
    assert outcome.code == 1
    assert outcome.text.strip().endswith("git is not installed, or not on the search path")
    assert "Traceback" not in outcome.text


FAILURES = {
    "killed before it answers": ("kill -9 $$", "failed: git http-backend gave no answer, it ended"),
    "silent": ("exit 0", "gave no answer, it ended without an answer"),
    "garbage": ("printf 'garbage\\n\\n'", "a line of its head is no header"),
    "a head without an end": ("head -c 100000 /dev/zero | tr '\\0' x", "its head does not end"),
    "no status": ("printf 'Status: fine\\r\\n\\r\\n'", "its status is none"),
    "an error": ("printf 'Status: 500 Oops\\r\\n\\r\\n'", "(git http-backend answered 500)"),
    "its service killed": (f"{ADVERTISEMENT}; kill -9 $$", "was ended by signal 9"),
    "its service failed": (f"{ADVERTISEMENT}; exit 1", "git gave no answer"),
    "the same in version 0": (f"{ADVERTISEMENT}; {OWN_BEGINNING}; exit 1", "git gave no answer"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_git_fails_before_its_answer_begins(served: Served, fake_git: FakeGit, failure: str) -> None:
    script, what = FAILURES[failure]
    fake_git.behave("echo 'fatal: the cause' >&2", script)
    outcome = served.git.try_("ls-remote", served.url)
    assert "The Git server behind this proxy failed" in outcome.text
    assert f"{what}" in outcome.text
    assert "The requested URL returned error: 502" in outcome.text
    assert served.refused("upstream_failed") == [502]
    assert what in served.lines()[-1]["reason"]
    wait_until(served.said, what="git's words in the log")
    assert served.said() == ["fatal: the cause"]
    fake_git.recover()
    served.assert_recovered()


def test_git_is_no_program(served: Served, fake_git: FakeGit) -> None:
    fake_git.become("neither a script nor a program")
    outcome = served.git.try_("ls-remote", served.url)
    assert f"can't start git (Exec format error){TELL}" in outcome.text
    fake_git.program.chmod(0o644)
    outcome = served.git.try_("ls-remote", served.url)
    assert f"can't start git (Permission denied){TELL}" in outcome.text
    assert served.refused("upstream_failed") == [502, 502]
    fake_git.recover()
    served.assert_recovered()


def test_git_fails_where_git_shows_no_status(served: Served, fake_git: FakeGit) -> None:
    """What a POST is answered the person sees only in one of Git's packets."""
    fake_git.behave(f"{RESULT}; cat >/dev/null; exit 1", at="git-upload-pack")
    outcome = served.git.try_("clone", served.url, "clone")
    assert not outcome.ok
    assert f"failed: git gave no answer{TELL}" in outcome.text
    assert served.refused("upstream_failed") == [200]
    fake_git.recover()
    served.assert_recovered()


HANGING = {
    "before its head": HANG,
    "in its head": f"printf 'Content-Type: '; {HANG}",
    "behind its head": f"{ADVERTISEMENT}; {HANG}",
    "behind its own beginning": f"{ADVERTISEMENT}; {OWN_BEGINNING}; {HANG}",
}


@pytest.mark.parametrize("where", HANGING)
def test_git_hangs(served: Served, fake_git: FakeGit, where: str) -> None:
    fake_git.behave(HANGING[where])
    outcome = served.git.try_("ls-remote", served.url)
    assert TOO_LATE in outcome.text
    assert "The requested URL returned error: 504" in outcome.text
    assert served.refused("upstream_timeout") == [504]
    assert served.lines()[-1]["reason"] == TOO_LATE
    fake_git.recover()
    served.assert_recovered()


def test_git_hangs_where_git_shows_no_status(served: Served, fake_git: FakeGit) -> None:
    fake_git.behave(RESULT, HANG, at="git-upload-pack")
    outcome = served.git.try_("clone", served.url, "clone")
    assert not outcome.ok
    assert TOO_LATE in outcome.text
    assert served.refused("upstream_timeout") == [200]
    fake_git.recover()
    served.assert_recovered()


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("kill -9 $$", "git http-backend was ended by signal 9"),
        (HANG, "git stopped in the middle of its answer"),
    ],
    ids=["killed", "hanging"],
)
def test_git_stops_in_the_middle_of_its_answer(
    served: Served, fake_git: FakeGit, end: str, reason: str
) -> None:
    fake_git.behave(RESULT, HALF_A_PACKET, end, at="git-upload-pack")
    assert not served.git.try_("clone", served.url, "clone").ok
    # The client may be gone before its request's own line is written.
    wait_until(lambda: served.lines("answer_cut"), what="the request's line")
    assert [line["reason"] for line in served.lines("answer_cut")] == [reason]
    assert served.lines()[-1]["complete"] is False
    fake_git.recover()
    served.assert_recovered()


@pytest.mark.parametrize("head", ["", RECEIVED], ids=["without a head", "behind its head"])
def test_git_takes_nothing_of_a_push(served: Served, fake_git: FakeGit, head: str) -> None:
    fake_git.behave(head, HANG, at="git-receive-pack")
    command = pkt_line(b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/x\0report-status")
    # More than fits into a pipe.
    body = command + b"0000PACK\0\0\0\2\0\0\0\3" + b"x" * 4 * MEBIBYTE
    answer = exchange(
        served.proxy.port,
        service_request("git-receive-pack", served.git.secret, body, repository=served.name),
    )
    assert (status_of(answer), TOO_LATE.encode() in answer) == (504, True)
    assert served.refused("upstream_timeout") == [504]
    fake_git.recover()
    served.assert_recovered()


def test_a_client_that_asks_slowly_is_no_git_that_hangs(served: Served) -> None:
    """git can't answer before it has been asked."""
    relay = StallingRelay(served.proxy.port, client_bytes=2 * MEBIBYTE)
    commit(served.git, served.work, "large.bin", os.urandom(4 * MEBIBYTE))
    address = f"http://127.0.0.1:{relay.port}/{served.name}"
    push = served.git.start("push", address, "HEAD:slow", cwd=served.work)
    wait_until(relay.stalled.is_set, what="a push in the middle")
    with pytest.raises(subprocess.TimeoutExpired):
        push.wait(5)
    assert any("receive-pack" in command for command in served.children())
    kill(push)
    relay.close()
    served.assert_recovered()
    assert served.refused("upstream_timeout") == []


STUBBORN = {
    "itself": "trap '' TERM; touch '{ready}'; while :; do sleep 1; done",
    "one that it has started": "(trap '' TERM; touch '{ready}'; while :; do sleep 1; done) & sleep 1000",
}


@pytest.mark.parametrize("who", STUBBORN)
def test_git_does_not_obey_the_order_to_end(served: Served, fake_git: FakeGit, who: str) -> None:
    ready = served.git.home / "ready"
    fake_git.behave(STUBBORN[who].format(ready=ready))
    client = served.git.start("ls-remote", served.url)
    wait_until(ready.exists, what="a git that does not listen")
    kill(client)
    wait_until(lambda: not served.children(), what="the end of every git")
    fake_git.recover()
    served.assert_recovered()


def test_the_git_that_packs_is_killed(served: Served) -> None:
    """The real one, in a clone that goes on."""
    commit(served.git, served.work, "large.bin", os.urandom(16 * MEBIBYTE))
    served.git("push", "--quiet", "origin", "HEAD:main", cwd=served.work)
    relay = StallingRelay(served.proxy.port, proxy_bytes=MEBIBYTE)
    clone = served.git.start("clone", f"http://127.0.0.1:{relay.port}/{served.name}", "clone")
    wait_until(relay.stalled.is_set, what="a clone in the middle")
    served_by = [p for p in served.proxy.children() if "upload-pack" in p.cmdline()]
    served_by[0].kill()
    wait_until(lambda: not served.children(), what="the end of every git")
    # The relay passes nothing more on, so it has the client see the end.
    relay.close()
    assert clone.wait(20) != 0
    kill(clone)
    wait_until(served.said, what="git's words in the log")
    assert served.said() == ["error: upload-pack died of signal 9"]
    served.assert_recovered()


def test_the_git_that_receives_is_killed(served: Served) -> None:
    hook = served.hook("pre-receive", "kill -9 $PPID")
    assert not served.try_push("killed").ok
    wait_until(served.said, what="git's words in the log")
    assert served.said() == ["error: receive-pack died of signal 9"]
    assert served.push_outcomes() == ["unknown"]
    assert "killed" not in served.refs()
    hook.unlink()
    # A git that is killed can't remove what it had received; `git gc` does.
    served.git("prune", "--expire=now", cwd=served.repository)
    served.assert_recovered()


def test_a_repository_of_somebody_else(served: Served) -> None:
    if os.geteuid() != 0:
        skip("only root can give a repository to somebody else")
    subprocess.run(["chown", "-R", "65534", served.repository], check=True)
    for outcome in (served.git.try_("ls-remote", served.url), served.try_push()):
        assert "The Git server behind this proxy failed (git http-backend answered 500)" in outcome.text
        assert "The requested URL returned error: 502" in outcome.text
    wait_until(served.said, what="git's words in the log")
    assert "detected dubious ownership in repository" in served.said()[0]
    assert served.refused("upstream_failed") == [502, 502]
    subprocess.run(["chown", "-R", "0", served.repository], check=True)
    served.assert_recovered()


@pytest.mark.parametrize("part", [".", "HEAD", "objects"])
def test_a_repository_that_may_not_be_read(served: Served, part: str) -> None:
    """The client is told what it would be if there were none; the operator why."""
    path = served.repository / part
    mode = path.stat().st_mode
    path.chmod(0)
    for outcome in (served.git.try_("ls-remote", served.url), served.try_push()):
        assert f"There is no repository {served.name} that this token reaches." in outcome.text
    path.chmod(mode)
    if part == ".":
        lines = served.proxy.log_lines("repository_unreadable")
        causes = [line["reason"] for line in lines if line["repository"] == served.name]
        assert "Permission denied" in causes[0]
    else:
        wait_until(served.said, what="git's words in the log")
        assert "Not a git repository" in served.said()[0]
    assert served.refused("repository_not_found") == [404, 404]
    served.assert_recovered()


def test_a_repository_that_may_not_be_written(served: Served) -> None:
    folders = [path for path in (served.repository, *served.repository.rglob("*")) if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    outcome = served.try_push("denied")
    served.git("ls-remote", served.url)
    for folder in folders:
        folder.chmod(0o755)
    assert "remote unpack failed: unable to create temporary object directory" in outcome.text
    assert "! [remote rejected] HEAD -> denied (unpacker error)" in outcome.text
    assert served.push_outcomes() == ["ng"]
    assert "denied" not in served.refs()
    served.assert_recovered()


def test_a_repository_whose_configuration_is_broken(served: Served) -> None:
    config = (served.repository / "config").read_text()
    (served.repository / "config").write_text("[core\n")
    outcome = served.git.try_("ls-remote", served.url)
    (served.repository / "config").write_text(config)
    assert "The requested URL returned error: 502" in outcome.text
    wait_until(served.said, what="git's words in the log")
    assert served.said() == ["fatal: bad config line 1 in file ./config"]
    served.assert_recovered()


def test_a_repository_that_has_lost_its_objects(served: Served) -> None:
    objects, kept = served.repository / "objects", served.repository / "kept"
    objects.rename(kept)
    objects.mkdir()
    outcome = served.git.try_("clone", served.url, "clone")
    objects.rmdir()
    kept.rename(objects)
    assert not outcome.ok
    assert "fatal: remote error: upload-pack: not our ref" in outcome.text
    wait_until(served.said, what="git's words in the log")
    assert "not our ref" in served.said()[0]
    served.assert_recovered()
