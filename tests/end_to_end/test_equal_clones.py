"""Equal clones share one git, and what is kept of them is never more than git would give now."""

import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gitpat_proxy.git.pktline import pkt_line
from tests.support.faults_git import running
from tests.support.git import Git, commit, kill, make_repository
from tests.support.proxy import Proxy, wait_until
from tests.support.raw import basic, connect, service_request
from tests.support.reference import QUESTIONS, Asked, Asker, CountingGit, Reference

CLONES = 32
MEBIBYTE = 1024 * 1024
PACK_SECONDS = 2
SETTLED_SECONDS = 0.07
_numbers = count()


class Place:
    """A proxy that counts its gits, and what people do with it."""

    def __init__(self, proxy: Proxy, gits: CountingGit) -> None:
        self.proxy = proxy
        self.gits = gits
        self.spool = Path(proxy.config["spool"])
        self.secret = proxy.make_token("code:read")[0]
        self.server = Git(proxy.home("server"))

    def repository(self, size: int = 300_000) -> "Repository":
        return Repository(self, f"app{next(_numbers)}", size)

    def person(self, **options: Any) -> Git:
        return Git(self.proxy.home(f"person-{next(_numbers)}"), self.secret, **options)

    @property
    def spool_files(self) -> int:
        """Return how many files the proxy holds open in its spool."""
        links = Path(f"/proc/{self.proxy.pid}/fd").iterdir()
        return sum(str(self.spool) in _read(link) for link in links)

    def settle(self) -> None:
        time.sleep(SETTLED_SECONDS)
        self.gits.since()


def _read(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


class Repository:
    """A bare repository with some incompressible history, and its address."""

    def __init__(self, place: Place, name: str, size: int) -> None:
        self.name = name
        self.path = make_repository(place.proxy.repositories / f"{name}.git", commits=20)
        self.url = f"{place.proxy.url}/{name}"
        self._git = place.server
        self._place = place
        if size:
            self.commit(os.urandom(size))

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        return self._git(*arguments, cwd=self.path, stdin=stdin)

    def commit(self, content: bytes) -> str:
        """Commit a file to main, without the proxy."""
        text = (
            b"commit refs/heads/main\ncommitter A <a@example.org> 1800000000 +0000\ndata 1\nx\n"
            b"from refs/heads/main^0\nM 100644 inline large.bin\ndata %d\n%s\n" % (len(content), content)
        )
        self.git("fast-import", "--quiet", stdin=text)
        return self.head

    @property
    def head(self) -> str:
        return self.git("rev-parse", "main").strip()

    @property
    def refs(self) -> str:
        return self.git("for-each-ref", "--format=%(objectname) %(refname)")

    def clone(self, *options: str, **person: Any) -> tuple[Git, Path]:
        git = self._place.person(**person)
        git("clone", "--quiet", "--mirror", *options, self.url, "copy")
        return git, git.home / "copy"

    def assert_equal(self, git: Git, copy: Path) -> None:
        git("fsck", "--strict", cwd=copy)
        assert git("for-each-ref", "--format=%(objectname) %(refname)", cwd=copy) == self.refs


@contextmanager
def place_in(folder: Path, **config: Any) -> Iterator[Place]:
    """Run a place as long as the block runs; its spool is a folder of its own."""
    gits = CountingGit(folder / "counting")
    spool = folder / "proxy-spool"
    spool.mkdir()
    with running(folder / "proxy", gits.environment, spool=str(spool), **config) as proxy:
        yield Place(proxy, gits)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place_in(tmp_path_factory.mktemp("equal"), pack_cache_seconds=PACK_SECONDS) as place:
        yield place


@pytest.fixture
def open_place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Run places of a test's own."""
    with ExitStack() as opened:
        yield lambda **config: opened.enter_context(place_in(tmp_path, **config))


def at_once(people: list[Git], *arguments: str, cwd: str = "") -> None:
    """Have all of them do the same at once, each in a folder of their own."""
    processes = [git.start(*arguments, cwd=git.home / cwd) for git in people]
    said = [process.communicate(timeout=100)[0].decode() for process in processes]
    assert {process.returncode for process in processes} == {0}, said


def fetch_of(oid: str, *more: str) -> Asked:
    """Return the request of a whole clone, the same for all who ask."""
    lines = [f"want {oid}\n", *more, "done\n"]
    body = b"".join(pkt_line(line.encode()) for line in ["no-progress\n", *lines])
    return Asked("version=2", pkt_line(b"command=fetch\n") + b"0001" + body + b"0000")


# Many at once


@pytest.mark.parametrize("kind", ["full", "shallow", "behind"])
def test_equal_clones_at_once_are_right_and_share_their_gits(place: Place, kind: str) -> None:
    repository = place.repository(size=2 * MEBIBYTE)
    people = [place.person() for _ in range(CLONES)]
    if kind == "behind":
        old = people[0]
        old("clone", "--quiet", "--mirror", repository.url, "copy")
        for git in people[1:]:
            subprocess.run(["cp", "--archive", old.home / "copy", git.home], check=True)
        repository.commit(os.urandom(MEBIBYTE))
    place.settle()
    if kind == "behind":
        at_once(people, "fetch", "--quiet", cwd="copy")
    else:
        depth = ["--depth=1"] if kind == "shallow" else []
        at_once(people, "clone", "--quiet", "--mirror", *depth, repository.url, "copy")
    # Who comes just before another's answer begins may still make one of their own.
    assert place.gits.since() <= 8
    for git in people:
        assert git("rev-parse", "main", cwd=git.home / "copy").strip() == repository.head
    repository.assert_equal(people[0], people[0].home / "copy")
    for git in people[1 :: CLONES // 4]:
        repository.assert_equal(git, git.home / "copy")


def test_a_first_client_that_is_killed_hurts_no_other(place: Place) -> None:
    for _ in range(3):
        repository = place.repository(size=6 * MEBIBYTE)
        place.settle()
        first = place.person()
        process = first.start("clone", "--quiet", "--mirror", repository.url, "copy")
        wait_until(lambda: place.gits.seen() >= 3, 20, "the git that makes the pack")
        people = [place.person() for _ in range(4)]
        others = [git.start("clone", "--quiet", "--mirror", repository.url, "copy") for git in people]
        time.sleep(0.02)
        kill(process)
        said = [other.communicate(timeout=60)[0].decode() for other in others]
        assert [other.returncode for other in others] == [0] * len(others), said
        for git in people:
            repository.assert_equal(git, git.home / "copy")


def test_who_comes_as_the_only_client_leaves_is_served(place: Place) -> None:
    """Again and again, at moments that differ: the git of the one that left takes a moment to end."""
    repository = place.repository(size=6 * MEBIBYTE)
    place.settle()
    asked = fetch_of(repository.head)
    request = service_request(
        "git-upload-pack",
        place.secret,
        asked.body,
        "Git-Protocol: version=2",
        repository=repository.name,
    )
    with closing(Asker(place.proxy, place.secret)) as asker:
        for number in range(12):
            repository.git("update-ref", f"refs/heads/change-{number}", "main")
            place.settle()
            with connect(place.proxy.port) as leaving:
                leaving.sendall(request)
                wait_until(place.gits.seen, 10, "its git")
                time.sleep(number * 0.003)
            # What it left behind is seen by the proxy before, while, or after the next one asks.
            time.sleep(number % 4 * 0.001)
            status, body = asker.answer(repository.name, asked)
            assert status == 200
            assert len(body) > 6 * MEBIBYTE
            assert body.endswith(b"0000")


def test_an_answer_that_is_kept_says_how_long_it_is(place: Place) -> None:
    repository = place.repository(size=3 * MEBIBYTE)
    place.settle()
    head = {
        "Authorization": basic(place.secret),
        "Content-Type": "application/x-git-upload-pack-request",
        "Git-Protocol": "version=2",
    }
    answers = []
    with closing(HTTPConnection("127.0.0.1", place.proxy.port, timeout=60)) as connection:
        for _ in range(3):
            body = fetch_of(repository.head).body
            connection.request("POST", f"/{repository.name}/git-upload-pack", body, head)
            response = connection.getresponse()
            answers.append((response.headers["Content-Length"], response.read()))
    (first_length, first), *others = answers
    assert first_length is None
    assert len(first) > 3 * MEBIBYTE
    assert others == [(str(len(first)), first)] * 2


def test_what_is_kept_needs_no_place(open_place: Callable[..., Place]) -> None:
    """A place bounds what costs a process."""
    place = open_place(limits={"operations": 1, "waiting_seconds": 1})
    repository, busy = place.repository(), place.repository()
    begun, go_on = busy.path / "begun", busy.path / "go-on"
    hook = busy.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {begun}; until test -e {go_on}; do sleep 0.05; done\n")
    hook.chmod(0o755)
    place.settle()
    asked = fetch_of(repository.head)
    with closing(Asker(place.proxy, place.secret)) as asker:
        status, whole = asker.answer(repository.name, asked)
        assert status == 200
        pusher = place.person()
        pusher.use(place.proxy.make_token("code:write")[0])
        pusher("clone", "--quiet", busy.url, "work")
        commit(pusher, pusher.home / "work", "new.txt", b"new")
        push = pusher.start("push", "origin", "main", cwd=pusher.home / "work")
        wait_until(begun.exists, 10, "the hook")
        assert asker.answer(repository.name, asked) == (200, whole)
        _, told = asker.answer(repository.name, fetch_of(repository.head, "deepen 1"))
        assert b"Too many operations are under way" in told
        go_on.touch()
        said = push.communicate(timeout=30)[0].decode()
    assert push.returncode == 0, said


# Who may have it


def test_nobody_gets_what_is_kept_without_the_right_to_it(place: Place) -> None:
    repository = place.repository()
    proxy = place.proxy
    place.settle()
    fetch = fetch_of(repository.head)
    asked = [Asked(""), Asked("version=2"), fetch]

    def statuses(secret: str) -> list[int]:
        with closing(Asker(proxy, secret)) as asker:
            return [asker.answer(repository.name, question)[0] for question in asked]

    good, token = proxy.make_token("code:read")
    ending, ends = proxy.make_token("code:read", expires="1d")
    other_scope, _ = proxy.make_token("work_items:read")
    elsewhere, _ = proxy.make_token("code:read", addresses=["192.0.2.0/24"])
    assert statuses(good) == [200] * 3
    assert statuses(ending) == [200] * 3
    assert place.gits.since() == 3
    assert statuses(other_scope) == [401] * 3
    assert statuses(elsewhere) == [401] * 3
    assert statuses("gpat_" + "x" * 46) == [401] * 3
    proxy.ok("token", "revoke", token.id)
    assert statuses(good) == [401] * 3
    with closing(sqlite3.connect(proxy.folder / "gitpat.db")) as database:
        database.execute("UPDATE tokens SET expires_at = created_at WHERE id = ?", (ends.id,))
        database.commit()
    assert statuses(ending) == [401] * 3
    assert place.gits.since() == 0


@pytest.mark.parametrize("change", ["deleted", "rewritten"])
def test_a_pack_is_not_given_any_more_once_its_ref_is_gone(place: Place, change: str) -> None:
    """In protocol v0, in which git gives nothing but what a ref leads to."""
    repository = place.repository()
    gone = repository.commit(b"secret")
    asked = Asked(
        "", pkt_line(f"want {gone} no-progress ofs-delta\n".encode()) + b"0000" + pkt_line(b"done\n")
    )
    place.settle()
    with closing(Asker(place.proxy, place.secret)) as asker:
        for _ in range(2):
            assert b"PACK" in asker.answer(repository.name, asked)[1]
        assert place.gits.since() == 1
        if change == "deleted":
            repository.git("update-ref", "-d", "refs/heads/main")
        else:
            repository.git("update-ref", "refs/heads/main", "main~1")
        assert b"not our ref" in asker.answer(repository.name, asked)[1]


# Changes while it runs


def hide(repository: Repository) -> None:
    repository.git("config", "transfer.hideRefs", "refs/heads/topic")


def graft(repository: Repository) -> None:
    """Give main a parent that no ref leads to otherwise."""
    lost = repository.git("commit-tree", "-m", "Lost", "main~9^{tree}").strip()
    (repository.path / "info").mkdir(exist_ok=True)
    parents = [repository.head, repository.git("rev-parse", "main~1").strip(), lost]
    (repository.path / "info" / "grafts").write_text(" ".join(parents) + "\n")


def replace_commit(repository: Repository) -> None:
    repository.git("replace", repository.head, repository.git("rev-parse", "main~3").strip())


def make_shallow(repository: Repository) -> None:
    (repository.path / "shallow").write_text(repository.git("rev-parse", "main~3"))


def borrow(repository: Repository) -> None:
    """Let another one have all objects, and this one have nothing but them."""
    other = repository.path.with_name(f"{repository.path.stem}-objects")
    other.mkdir()
    (repository.path / "objects").rename(other / "objects")
    (repository.path / "objects" / "info").mkdir(parents=True)
    (repository.path / "objects" / "pack").mkdir()
    (repository.path / "objects" / "info" / "alternates").write_text(f"{other}/objects\n")


def configure(name: str, value: str) -> Callable[[Repository], None]:
    def change(repository: Repository) -> None:
        repository.git("config", name, value)

    return change


CHANGES: dict[str, Callable[[Repository], None]] = {
    "transfer.hideRefs": hide,
    "grafts": graft,
    "replace": replace_commit,
    "shallow": make_shallow,
    "alternates": borrow,
    "uploadpack.hideRefs": configure("uploadpack.hideRefs", "refs/heads/topic"),
    "uploadpack.allowFilter": configure("uploadpack.allowFilter", "true"),
    "uploadpack.allowAnySHA1InWant": configure("uploadpack.allowAnySHA1InWant", "true"),
    "core.useReplaceRefs": configure("core.useReplaceRefs", "false"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_while_it_runs_counts_for_the_next_clone(
    place: Place, change: Callable[[Repository], None]
) -> None:
    repository = place.repository(size=1000)
    repository.git("branch", "topic", "main~2")
    place.settle()
    for _ in range(2):
        repository.assert_equal(*repository.clone())
    change(repository)
    for version in ("0", "2"):
        config = {"protocol.version": version, "fetch.unpackLimit": "1"}
        _, copy = repository.clone(config=config)
        reference = place.person(config=config)
        reference("clone", "--quiet", "--mirror", f"file://{repository.path}", "copy")
        for arguments in (["for-each-ref"], ["count-objects", "--verbose"]):
            theirs = reference(*arguments, cwd=reference.home / "copy")
            assert _without_sizes(reference(*arguments, cwd=copy)) == _without_sizes(theirs)
    git = Reference(place.proxy.repositories)
    with closing(Asker(place.proxy, place.secret)) as asker:
        for asked in QUESTIONS:
            right = git.answer(repository.path.name, asked)
            assert asker.answer(repository.name, asked) == (200, right)


def _without_sizes(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("size")]


# Without it


@pytest.mark.parametrize(
    "config",
    [
        {"ref_cache_bytes": 0},
        {"pack_cache_seconds": 0},
        {"ref_cache_bytes": 0, "pack_cache_seconds": 0},
    ],
    ids=["no refs", "no packs", "neither"],
)
def test_without_it_all_is_the_same(open_place: Callable[..., Place], config: dict[str, int]) -> None:
    place = open_place(**config)
    repository = place.repository()
    place.settle()
    people = [place.person() for _ in range(4)]
    at_once(people, "clone", "--quiet", "--mirror", repository.url, "copy")
    number = place.gits.since()
    # Each clone asks for the advertisement, the refs and the pack.
    if len(config) == 2:
        assert number == 12
    else:
        assert number >= (8 if "ref_cache_bytes" in config else 4)
    repository.commit(b"new")
    at_once(people, "fetch", "--quiet", cwd="copy")
    for git in people:
        repository.assert_equal(git, git.home / "copy")
    assert place.spool_files == 0


# What is left


def test_nothing_is_left_when_the_time_is_over(place: Place) -> None:
    repository = place.repository(size=2 * MEBIBYTE)
    place.settle()
    wait_until(lambda: place.spool_files == 0, PACK_SECONDS + 5, "an empty spool")
    repository.clone()
    assert place.spool_files == 1
    assert list(place.spool.iterdir()) == []
    wait_until(lambda: place.spool_files == 0, PACK_SECONDS + 5, "an empty spool")
    wait_until(lambda: not place.proxy.children(), 10, "the end of every git")
    wait_until(lambda: not place.proxy.open_pipes_and_sockets(), 10, "closed pipes and connections")


@pytest.mark.parametrize("is_under_way", [False, True])
def test_nothing_is_left_after_a_stop(open_place: Callable[..., Place], is_under_way: bool) -> None:
    place = open_place(drain_seconds=0)
    repository = place.repository(size=8 * MEBIBYTE)
    place.settle()
    proxy = place.proxy
    repository.clone()
    with connect(proxy.port) as stalled:
        if is_under_way:
            body = fetch_of(repository.head).body
            request = service_request(
                "git-upload-pack",
                place.secret,
                body,
                "Git-Protocol: version=2",
                repository=repository.name,
            )
            stalled.sendall(request)
            assert stalled.recv(1000)
        began = time.monotonic()
        assert proxy.stop() == 0
    assert time.monotonic() - began < 5
    assert list(place.spool.iterdir()) == []
    assert proxy.children() == []


def test_clones_are_right_where_the_spool_is_too_small(open_place: Callable[..., Place]) -> None:
    """And what they took of it is given back: a smaller one is kept afterwards."""
    place = open_place(limits={"spool_bytes": "1MiB"})
    large, small = place.repository(size=5 * MEBIBYTE), place.repository()
    for _ in range(3):
        people = [place.person() for _ in range(6)]
        place.settle()
        at_once(people, "clone", "--quiet", "--mirror", large.url, "copy")
        for git in people:
            large.assert_equal(git, git.home / "copy")
    wait_until(lambda: not place.proxy.children(), 10, "the end of every git")
    small.clone()
    place.settle()
    small.assert_equal(*small.clone())
    assert place.gits.since() == 0


def test_a_pack_that_a_stalled_client_reads_is_kept_and_then_driven_out(
    open_place: Callable[..., Place],
) -> None:
    place = open_place(limits={"spool_bytes": "12MiB"})
    first, second, third = (place.repository(size=6 * MEBIBYTE) for _ in range(3))
    place.settle()
    asked = fetch_of(first.head)
    request = service_request(
        "git-upload-pack", place.secret, asked.body, "Git-Protocol: version=2", repository=first.name
    )
    with closing(Asker(place.proxy, place.secret)) as asker:
        whole = asker.answer(first.name, asked)[1]
        with connect(place.proxy.port) as stalled:
            stalled.sendall(request)
            got = stalled.recv(1000)
            for other in (second, third):
                other.assert_equal(*other.clone())
            # As long as it is read it can't be driven out, and is given to others.
            place.gits.since()
            assert asker.answer(first.name, asked)[1] == whole
            assert place.gits.since() == 0
            while chunk := stalled.recv(MEBIBYTE):
                got += chunk
        assert whole[-100_000:-1000] in got
        for other in (second, third, second):
            other.assert_equal(*other.clone())
        place.gits.since()
        assert b"PACK" in asker.answer(first.name, asked)[1]
        assert place.gits.since() == 1


def test_what_is_forgotten_after_many_changes_takes_no_descriptors(place: Place) -> None:
    repository = place.repository(size=MEBIBYTE)
    for number in range(8):
        repository.commit(os.urandom(200_000))
        place.settle()
        with closing(Asker(place.proxy, place.secret)) as asker:
            assert b"PACK" in asker.answer(repository.name, fetch_of(repository.head))[1]
        assert place.spool_files <= 2, f"after {number} changes"
