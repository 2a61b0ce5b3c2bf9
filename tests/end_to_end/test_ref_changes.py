"""Refs that change behind the proxy's back, by whatever way, are seen by the very next request.

GITPAT_REF_CHANGES says how many changes are made, and GITPAT_REF_SEED which.
"""

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from gitpat_proxy.git.pktline import pkt_line
from tests.support.faults_git import running
from tests.support.git import Git, commit, make_repository
from tests.support.proxy import Proxy
from tests.support.reference import QUESTIONS, Asked, Asker, CountingGit, Reference, ls_refs

CHANGES = int(os.environ.get("GITPAT_REF_CHANGES", "300"))
SEED = int(os.environ.get("GITPAT_REF_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
SETTLED_SECONDS = 0.07
"""After so long without a change answers are kept."""

HOOK = """#!/bin/sh
while read -r old new ref; do
    case $new in *[1-9a-f]*) git update-ref refs/hooked/last "$new" ;; esac
done
"""
CONFIGURATIONS = [
    *[("transfer.hideRefs", "refs/tags"), ("transfer.hideRefs", "!refs/tags/v1")],
    *[("uploadpack.hideRefs", "refs/heads/b1"), ("uploadpack.hideRefs", "refs/keep")],
    *[("uploadpack.allowFilter", "true"), ("uploadpack.allowAnySHA1InWant", "true")],
    *[("uploadpack.allowTipSHA1InWant", "true"), ("lsrefs.unborn", "ignore")],
    *[("transfer.advertiseObjectInfo", "true"), ("uploadpack.advertiseRefInWant", "true")],
]


class Repository:
    """One of many changes; `keep` are refs that none of them touches, so that gc leaves the commits."""

    def __init__(self, path: Path, home: Path, chance: random.Random) -> None:
        self.path = make_repository(path, commits=30)
        # Nothing of it needs to outlast a machine that fails.
        self.git = Git(home, config={"gc.auto": "0", "core.fsync": "none"})
        self._chance = chance
        self._backup = home / "backup"
        self._other = path.with_name("other.git")
        self.commits = self.git("rev-list", "main", cwd=self.path).split()
        self._update_many(*(f"create refs/keep/{i} {oid}" for i, oid in enumerate(self.commits)))
        hook = self.path / "hooks" / "post-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(HOOK)
        hook.chmod(0o755)
        shutil.copytree(self.path, self._other)
        self.git("update-ref", "refs/heads/other", self.commits[3], cwd=self._other)
        self._back_up()
        self.git("clone", "--quiet", str(self.path), "work")
        self.work = self.git.home / "work"
        self._pushes = 0

    # by git itself

    def update_ref(self) -> None:
        self.git("update-ref", f"refs/heads/{self._branch()}", self._commit(), cwd=self.path)

    def update_many(self) -> None:
        there = self.git("for-each-ref", "--format=%(refname)", "refs/heads/many", cwd=self.path).split()
        deleted = self._chance.sample(there, len(there) // 3)
        updated = {f"refs/heads/many/{number}" for number in self._chance.sample(range(60), 30)}
        self._update_many(
            *(f"update {name} {self._commit()}" for name in sorted(updated - set(deleted))),
            *(f"delete {name}" for name in deleted),
        )

    def branch(self) -> None:
        self.git("branch", "--force", self._branch(), self._commit(), cwd=self.path)

    def delete_branch(self) -> None:
        self.git.try_("update-ref", "-d", f"refs/heads/{self._branch()}", cwd=self.path)

    def tag(self) -> None:
        self.git(
            "tag", "--force", "--annotate", "--message", "T", self._tag(), self._commit(), cwd=self.path
        )

    def plain_tag(self) -> None:
        self.git("tag", "--force", self._tag(), self._commit(), cwd=self.path)

    def delete_tag(self) -> None:
        self.git.try_("tag", "--delete", self._tag(), cwd=self.path)

    def head(self) -> None:
        self.git("symbolic-ref", "HEAD", f"refs/heads/{self._branch()}", cwd=self.path)

    def detached_head(self) -> None:
        self.git("update-ref", "--no-deref", "HEAD", self._commit(), cwd=self.path)

    def symbolic_branch(self) -> None:
        self.git("symbolic-ref", "refs/heads/alias", f"refs/heads/{self._branch()}", cwd=self.path)

    def pack_refs(self) -> None:
        self.git("pack-refs", "--all", "--prune", cwd=self.path)

    def gc(self) -> None:
        if self._chance.random() < 0.2:
            self.git("gc", "--quiet", "--prune=now", cwd=self.path)

    def replace(self) -> None:
        """Never one that stands for another already: git follows no circles."""
        oid = self._chance.choice(self.commits[:10])
        self.git("replace", "--force", oid, self._chance.choice(self.commits[10:]), cwd=self.path)

    def undo_replace(self) -> None:
        for name in self.git("replace", "--list", cwd=self.path).split():
            self.git("replace", "--delete", name, cwd=self.path)

    def configure(self) -> None:
        name, value = self._chance.choice(CONFIGURATIONS)
        self.git("config", "--replace-all", name, value, cwd=self.path)

    def undo_configure(self) -> None:
        self.git.try_("config", "--unset-all", self._chance.choice(CONFIGURATIONS)[0], cwd=self.path)

    # by pushes; what is pushed may be refused, as it is no fast-forward or does not exist

    def push_file(self) -> None:
        self._push(f"file://{self.path}")

    def push_many_file(self) -> None:
        refs = [f"{self._commit()}:refs/heads/{self._branch()}" for _ in range(3)]
        self.git.try_("push", "--quiet", "--force", f"file://{self.path}", *refs, cwd=self.work)

    # by hand

    def write_loose(self) -> None:
        self._write(self.path / "refs/heads" / self._branch(), f"{self._commit()}\n".encode())

    def overwrite_loose(self) -> None:
        """Without a moment in which it is empty, nor another length."""
        path = self.path / "refs/heads" / self._branch()
        if path.exists() and path.stat().st_size == 41:
            with path.open("r+b") as file:
                file.write(f"{self._commit()}\n".encode())
            os.utime(path, (1, 1))

    def delete_loose(self) -> None:
        (self.path / "refs/heads" / self._branch()).unlink(missing_ok=True)

    def delete_folder(self) -> None:
        shutil.rmtree(self.path / "refs/heads/many", ignore_errors=True)

    def rename_folder(self) -> None:
        with suppress(OSError):
            (self.path / "refs/heads/many").rename(self.path / "refs/heads/renamed")

    def write_packed(self) -> None:
        """Let every branch in it be another commit, in place, with an old time."""
        path = self.path / "packed-refs"
        if path.exists():
            lines = path.read_bytes().split(b"\n")
            changed = [
                self._commit().encode() + line[40:] if b" refs/heads/" in line else line
                for line in lines
            ]
            with path.open("r+b") as file:
                file.write(b"\n".join(changed))
            os.utime(path, (1, 1))

    def write_head(self) -> None:
        self._write(self.path / "HEAD", f"ref: refs/heads/{self._branch()}\n".encode())

    def write_config(self) -> None:
        text = (self.path / "config").read_text()
        self._write(self.path / "config", f"{text}[uploadpack]\n\tallowFilter = true\n".encode())

    def shallow(self) -> None:
        self._write(self.path / "shallow", f"{self.commits[5]}\n".encode())

    def undo_shallow(self) -> None:
        (self.path / "shallow").unlink(missing_ok=True)

    def change_modes(self) -> None:
        self.path.chmod(self._chance.choice([0o700, 0o755]))
        (self.path / "refs").chmod(self._chance.choice([0o700, 0o755]))

    # by other folders in its place

    def back_up(self) -> None:
        """It is no change, but what is restored later."""
        self._back_up()

    def restore_by_cp(self) -> None:
        subprocess.run(["cp", "--archive", "--no-target-directory", self._backup, self.path], check=True)

    def restore_by_tar(self) -> None:
        archive = self._backup.with_suffix(".tar")
        subprocess.run(["tar", "--create", "--file", archive, "-C", self._backup, "."], check=True)
        subprocess.run(["tar", "--extract", "--file", archive, "-C", self.path], check=True)

    def restore_in_place(self) -> None:
        """As rsync --inplace --delete does, as far as refs go."""
        shutil.copytree(self._backup / "objects", self.path / "objects", dirs_exist_ok=True)
        for path in [*self.path.glob("refs/**/*"), self.path / "packed-refs"]:
            if path.is_file() and not (self._backup / path.relative_to(self.path)).exists():
                path.unlink()
        for source in [*self._backup.glob("refs/**/*"), self._backup / "packed-refs"]:
            target = self.path / source.relative_to(self._backup)
            if source.is_dir():
                target.mkdir(exist_ok=True, parents=True)
            elif source.exists():
                self._write(target, source.read_bytes())
                shutil.copystat(source, target)

    def restore_as_a_whole(self) -> None:
        shutil.rmtree(self.path)
        subprocess.run(["cp", "--archive", self._backup, self.path], check=True)

    def exchange(self) -> None:
        aside = self.path.with_name("aside")
        self.path.rename(aside)
        self._other.rename(self.path)
        aside.rename(self._other)

    def _back_up(self) -> None:
        shutil.rmtree(self._backup, ignore_errors=True)
        subprocess.run(["cp", "--archive", self.path, self._backup], check=True)
        for path in [self._backup, *self._backup.rglob("*")]:
            os.utime(path, (1_600_000_000, 1_600_000_000))

    def _push(self, url: str) -> None:
        self._pushes += 1
        commit(self.git, self.work, content=str(self._pushes).encode())
        self.git.try_("push", "--quiet", "--force", url, f"HEAD:{self._branch()}", cwd=self.work)

    def push_to(self, url: str) -> Callable[[], None]:
        return lambda: self._push(url)

    def _update_many(self, *lines: str) -> None:
        self.git("update-ref", "--stdin", cwd=self.path, stdin="".join(f"{x}\n" for x in lines).encode())

    def _write(self, path: Path, content: bytes) -> None:
        with path.open("r+b" if path.exists() else "wb") as file:
            file.truncate(0)
            file.write(content)

    def _commit(self) -> str:
        return self._chance.choice(self.commits)

    def _branch(self) -> str:
        return f"b{self._chance.randrange(6)}"

    def _tag(self) -> str:
        return f"v{self._chance.randrange(4)}"


def ways_of(repository: Repository) -> list[Callable[[], None]]:
    return [
        getattr(repository, name)
        for name, value in vars(Repository).items()
        if callable(value) and not name.startswith(("_", "push_to"))
    ]


@pytest.fixture
def chance() -> random.Random:
    return random.Random(SEED)


def test_every_change_is_seen_by_the_next_request(proxy: Proxy, chance: random.Random) -> None:
    root = proxy.repositories
    repository = Repository(root / "app.git", proxy.home("writer"), chance)
    person = proxy.git("code:write")
    repository.git.use(person.secret)
    ways = [*ways_of(repository), repository.push_to(f"{proxy.url}/app")]
    git = Reference(root)
    done: list[str] = []
    with closing(Asker(proxy, person.secret)) as asker:

        def compare(questions: list[Asked], right: dict[Asked, bytes]) -> None:
            for asked in questions:
                status, body = asker.answer("app", asked)
                if asked not in right:
                    right[asked] = git.answer("app.git", asked)
                assert (status, body) == (200, right[asked]), (
                    f"seed {SEED}, change {len(done)}, {asked}, after {done[-6:]}"
                )

        while len(done) < CHANGES:
            questions = chance.sample(QUESTIONS, 3)
            for way in chance.choices(ways, k=chance.choice([1, 1, 1, 2, 4])):
                way()
                done.append(getattr(way, "__name__", "push"))
            changed = time.monotonic()
            right: dict[Asked, bytes] = {}
            compare(questions, right)
            time.sleep(max(0, changed + SETTLED_SECONDS - time.monotonic()))
            compare(questions, right)
            compare(questions, right)


def test_a_repository_that_goes_is_gone_and_one_that_comes_is_there(
    proxy: Proxy, chance: random.Random
) -> None:
    repository = Repository(proxy.repositories / "app.git", proxy.home("writer"), chance).path
    aside = proxy.folder / "aside.git"
    git = Reference(proxy.repositories)
    with closing(Asker(proxy, proxy.make_token("code:read")[0])) as asker:
        for asked in QUESTIONS:
            time.sleep(SETTLED_SECONDS)
            right = git.answer("app.git", asked)
            assert [asker.answer("app", asked) for _ in range(2)] == [(200, right)] * 2
            repository.rename(aside)
            assert b"There is no repository app" in asker.answer("app", asked)[1]
            aside.rename(repository)
            assert asker.answer("app", asked) == (200, right)


def test_an_object_that_comes_without_a_ref_is_seen(proxy: Proxy) -> None:
    """Protocol v2 can be asked how large an object is (gitprotocol-v2, "object-info")."""
    git = Git(proxy.home("writer"))
    repository = proxy.repositories / "team" / "app.git"
    git("config", "transfer.advertiseObjectInfo", "true", cwd=repository)
    oid = git("hash-object", "--stdin", stdin=b"new\n", cwd=repository).strip()
    (repository / "objects" / oid[:2]).mkdir()
    body = b"".join(
        [pkt_line(b"command=object-info"), b"0001", pkt_line(b"size"), pkt_line(f"oid {oid}".encode())]
    )
    asked = Asked("version=2", body + b"0000")
    reference = Reference(proxy.repositories)
    with closing(Asker(proxy, proxy.make_token("code:read")[0])) as asker:
        time.sleep(SETTLED_SECONDS)
        for _ in range(3):
            assert asker.answer("team/app", asked)[1] == reference.answer("team/app.git", asked)
        git("hash-object", "--stdin", "-w", stdin=b"new\n", cwd=repository)
        assert asker.answer("team/app", asked)[1] == reference.answer("team/app.git", asked)


def test_a_repository_is_seen_that_comes_before_one_of_the_same_name(proxy: Proxy) -> None:
    """`app` is asked for, found in `app`, as long as `app.git` is being made."""
    old = make_repository(proxy.repositories / "app")
    new = make_repository(proxy.repositories / "app.git", commits=7)
    (new / "HEAD").rename(new / "HEAD.lock")
    git = Reference(proxy.repositories)
    with closing(Asker(proxy, proxy.make_token("code:read")[0])) as asker:
        time.sleep(SETTLED_SECONDS)
        for _ in range(3):
            assert asker.answer("app", QUESTIONS[0])[1] == git.answer(old.name, QUESTIONS[0])
        (new / "HEAD.lock").rename(new / "HEAD")
        assert asker.answer("app", QUESTIONS[0])[1] == git.answer(new.name, QUESTIONS[0])


def test_what_lies_outside_of_a_route_is_not_given_through_it(tmp_path: Path) -> None:
    """Two routes may lead to one folder; a link in it leads out of one of them alone."""
    routes = [
        {"path": "/all", "repositories": "repositories"},
        {"path": "/some", "repositories": "repositories/some"},
    ]
    proxy = Proxy(tmp_path / "proxy", routes=routes)
    make_repository(proxy.repositories / "outside.git")
    (proxy.repositories / "some").mkdir()
    (proxy.repositories / "some" / "linked.git").symlink_to("../outside.git")
    proxy.start()
    try:
        with closing(Asker(proxy, proxy.make_token("code:read")[0])) as asker:
            assert asker.answer("some/linked", QUESTIONS[0])[0] == 404
            time.sleep(SETTLED_SECONDS)
            assert [asker.answer("all/some/linked", QUESTIONS[0])[0] for _ in range(3)] == [200] * 3
            assert asker.answer("some/linked", QUESTIONS[0])[0] == 404
    finally:
        proxy.stop()


# What is kept


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[tuple[Proxy, CountingGit]]:
    """A proxy that counts its gits, and has memory for four answers and no more."""
    gits = CountingGit(tmp_path / "counting")
    with running(tmp_path / "proxy", gits.environment, ref_cache_bytes="48KiB") as proxy:
        yield proxy, gits


def test_answers_are_given_again_however_often_they_have_changed(
    counted: tuple[Proxy, CountingGit],
) -> None:
    proxy, gits = counted
    repository = make_repository(proxy.repositories / "app.git", commits=20)
    git = Git(proxy.home("writer"))
    commits = git("rev-list", "main", cwd=repository).split()
    with closing(Asker(proxy, proxy.make_token("code:read")[0])) as asker:

        def ask_often() -> int:
            time.sleep(SETTLED_SECONDS)
            gits.since()
            answers = {asker.answer("app", QUESTIONS[0]) for _ in range(10)}
            assert len(answers) == 1
            assert commits[number % 20].encode() in answers.pop()[1]
            return gits.since()

        for number in range(30):
            git("update-ref", "refs/heads/main", commits[number % 20], cwd=repository)
            assert ask_often() == 1, f"after {number} changes"


# Changes and requests at once


class Counter:
    """A branch that goes through the commits, one by one; `begun` and `done` tell how far it is."""

    def __init__(self, repository: Path, git: Git) -> None:
        self._git = git
        self._repository = repository
        self.file = repository / "refs/heads/counter"
        self.commits = git("rev-list", "--reverse", "main", cwd=repository).split()
        self.begun = self.done = 0
        self.file.write_text(self.commits[0] + "\n")

    def step(self, way: str) -> None:
        oid = self.commits[self.begun + 1]
        self.begun += 1
        if way == "git":
            self._git("update-ref", "refs/heads/counter", oid, cwd=self._repository)
        elif way == "rename":
            new = self.file.with_name("counter.lock")
            new.write_text(oid + "\n")
            new.rename(self.file)
        elif way == "truncate":
            self.file.write_text(oid + "\n")
        else:
            with self.file.open("r+") as file:
                file.write(oid + "\n")
        self.done += 1

    def number_in(self, answer: bytes) -> int | None:
        """Return how far the answer is; None: it has no such branch, or an empty one."""
        for line in answer.split(b"\n"):
            if line.endswith(b" refs/heads/counter"):
                oid = line.split()[0][-40:].decode()
                return self.commits.index(oid) if oid.strip("0") else None
        return None


def test_no_request_sees_what_was_so_before_it_began(proxy: Proxy, chance: random.Random) -> None:
    repository = make_repository(proxy.repositories / "app.git", commits=300)
    counter = Counter(repository, Git(proxy.home("writer")))
    secret = proxy.make_token("code:read")[0]
    wrong: list[str] = []
    number_asked = 0
    ended = threading.Event()

    def hammer(asked: Asked) -> None:
        nonlocal number_asked
        with closing(Asker(proxy, secret)) as asker:
            while not ended.is_set():
                begun, done = counter.begun, counter.done
                status, answer = asker.answer("app", asked)
                number, is_at_rest = counter.number_in(answer), begun == done == counter.begun
                # What is written in place is empty for a moment, in which git has no such branch.
                is_right = number == done if is_at_rest else number is None or number >= done
                number_asked += 1
                if status != 200 or not is_right:
                    wrong.append(f"seed {SEED}: {asked} said {number} after {done} ({status})")

    threads = [
        threading.Thread(target=hammer, args=(asked,))
        for asked in (QUESTIONS[0], QUESTIONS[3], ls_refs("ref-prefix refs/heads/counter"))
    ]
    for thread in threads:
        thread.start()
    try:
        until = time.monotonic() + 15
        while counter.done < 250 and time.monotonic() < until and not wrong:
            for _ in range(chance.choice([1, 2, 3, 5])):
                counter.step(chance.choice(["git", "rename", "truncate", "in place"]))
                time.sleep(chance.choice([0, 0, 0.001, 0.005]))
            time.sleep(chance.choice([0, 0.01, 0.05, 0.1]))
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert number_asked > 30
    git = Reference(proxy.repositories)
    with closing(Asker(proxy, secret)) as asker:
        for asked in QUESTIONS:
            assert asker.answer("app", asked) == (200, git.answer("app.git", asked))
