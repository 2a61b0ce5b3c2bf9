"""Clients and git processes that are killed in the middle."""

import random
import subprocess

import psutil

from bench.soak.ledger import CONNECTION, Ledger, UnexpectedError, cause_of
from bench.soak.people import VICTIM
from bench.soak.site import UPSTREAM, Site, scratch
from bench.soak.work import MIB, SOAK, Promises, Work, check_clone, must
from tests.support.git import kill

_OF_KILLED_GIT = {CONNECTION, "git_failed", "upstream_failed"}
_LONGEST_SECONDS = 120


class KilledClient:
    """Clones and pushes, and is killed at any moment."""

    def __init__(self, site: Site, ledger: Ledger, promises: Promises, name: str) -> None:
        self._site, self._ledger, self._promises = site, ledger, promises
        self._work = Work(site, name, "pushed")

    def __call__(self) -> None:
        repository = random.choice(["large", f"{UPSTREAM}large"])
        with scratch(self._work.git.home / "clone") as clone:
            started = self._work.git.start("clone", "--bare", self._site.url(repository), str(clone))
            if self._survives("clone whose client is killed", started):
                check_clone(self._site, self._work.git, clone, repository)
        self._push()

    def _push(self) -> None:
        self._work.begin_round()
        self._remove_branches()
        commit_id = self._work.commit(3 * MIB)
        branch = f"{SOAK}/{self._work.name}-{self._work.round}"
        self._promises.tried("pushed", branch, commit_id)
        started = self._work.git.start("push", "origin", f"HEAD:{branch}", cwd=self._work.folder)
        if self._survives("push whose client is killed", started):
            self._promises.acknowledged("pushed", branch, commit_id)

    def _survives(self, kind: str, process: "subprocess.Popen[bytes]") -> bool:
        self._site.over.wait(random.choice([0.2, 1, 5]) * random.random())
        if process.poll() is None:
            kill(process)
            self._ledger.refused(kind, "killed")
            return False
        ended(process)
        self._ledger.done(kind)
        return True

    def _remove_branches(self) -> None:
        """A push that had arrived when its client was killed is there, sooner or later."""
        own = f"{SOAK}/{self._work.name}-*"
        there = must(self._work.git, "ls-remote", "origin", own, cwd=self._work.folder).split()[1::2]
        if there:
            for branch in there:
                self._promises.tried("pushed", branch)
            self._work.push("--delete", *there)
            for branch in there:
                self._promises.acknowledged("pushed", branch)


class KilledGit:
    """Clones and pushes while one of the server's git processes is killed."""

    def __init__(self, site: Site, ledger: Ledger, promises: Promises, name: str) -> None:
        self._site, self._ledger, self._promises = site, ledger, promises
        self._work = Work(site, name, VICTIM)

    def __call__(self) -> None:
        with scratch(self._work.git.home / "clone") as clone:
            url = self._site.url(VICTIM)
            started = self._work.git.start("clone", "--bare", url, str(clone))
            if self._survives("clone whose git is killed", started):
                check_clone(self._site, self._work.git, clone, VICTIM)
        self._work.begin_round()
        commit_id = self._work.commit(3 * MIB)
        branch = f"{SOAK}/{self._work.name}"
        self._promises.tried(VICTIM, branch, commit_id)
        started = self._work.git.start(
            "push", "--force", "origin", f"HEAD:{branch}", cwd=self._work.folder
        )
        if self._survives("push whose git is killed", started):
            self._promises.acknowledged(VICTIM, branch, commit_id)

    def _survives(self, kind: str, process: "subprocess.Popen[bytes]") -> bool:
        self._site.over.wait(random.uniform(0, 0.1))
        killed = False
        while process.poll() is None and not killed and not self._site.over.is_set():
            killed = self._kill_one()
            self._site.over.wait(0.01)
        try:
            ended(process)
        except UnexpectedError as error:
            if not killed or error.cause not in _OF_KILLED_GIT:
                raise
            self._ledger.refused(kind, "git killed")
            return False
        self._ledger.done(kind)
        return True

    def _kill_one(self) -> bool:
        for process in self._git_processes():
            try:
                path = process.environ().get("PATH_INFO", "")
                if path.startswith(f"/{VICTIM}") and random.random() < 0.5:
                    process.kill()
                    return True
            except psutil.Error:
                continue
        return False

    def _git_processes(self) -> list[psutil.Process]:
        proxy = self._site.front.process
        try:
            return psutil.Process(proxy.pid).children(recursive=True) if proxy else []
        except psutil.NoSuchProcess:
            return []


def ended(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the end of what `Git.start` began; raise UnexpectedError unless it succeeded."""
    try:
        output, _ = process.communicate(timeout=_LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    text = output.decode("utf-8", "replace")
    if process.returncode != 0:
        raise UnexpectedError(cause_of(text), text)
