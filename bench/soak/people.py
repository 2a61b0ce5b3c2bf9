"""What people and machines do all day: clone, fetch, list, push; and what the operator does."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.soak.ledger import Ledger, UnexpectedError
from bench.soak.site import UPSTREAM, Site, run_git, scratch
from bench.soak.work import (
    FSCK,
    MIB,
    SOAK,
    Promises,
    Work,
    check_clone,
    check_refs,
    must,
    must_be_done,
    must_be_refused,
)

VICTIM = "victim"
"""The repository whose git is killed: nobody else may expect anything of it."""
_BRANCHES_KEPT = 5


@dataclass(frozen=True)
class CloneKind:
    """A way to clone."""

    name: str
    repository: str
    options: Sequence[str] = ()
    protocol: str = "2"

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Of which of the server's refs it has all, under the same names."""
        if "--mirror" in self.options:
            return ("refs/",)
        if "--bare" in self.options and not any("--depth" in option for option in self.options):
            return ("refs/heads/", "refs/tags/")
        return ("refs/heads/main",)


CLONES = [
    CloneKind("clone, small", "small"),
    CloneKind("clone, small, protocol 0", "small", ("--bare",), "0"),
    CloneKind("clone, with a work tree", "commits"),
    CloneKind("clone, protocol 0", "commits", ("--bare",), "0"),
    CloneKind("clone, shallow", "commits", ("--bare", "--depth=1")),
    CloneKind("clone, shallow, protocol 0", "commits", ("--bare", "--depth=20"), "0"),
    CloneKind("clone, many refs", "references", ("--mirror",)),
    CloneKind("clone, many refs, protocol 0", "references", ("--mirror",), "0"),
    CloneKind("clone, large", "large", ("--bare",)),
    CloneKind("clone, while it is pushed to", "pushed", ("--mirror",)),
    CloneKind("clone, while it is pushed to, protocol 0", "pushed", ("--bare",), "0"),
    CloneKind("clone, upstream, small", f"{UPSTREAM}small", ("--bare",), "0"),
    CloneKind("clone, upstream, shallow", f"{UPSTREAM}pushed", ("--bare", "--depth=3")),
    CloneKind("clone, upstream, large", f"{UPSTREAM}large", ("--bare",)),
]


class Cloner:
    """Clones in one way after the other."""

    def __init__(self, site: Site, ledger: Ledger, name: str) -> None:
        self._site, self._ledger = site, ledger
        self._git = site.git(name, site.reader)
        self._kinds = random.sample(CLONES, len(CLONES))

    def __call__(self) -> None:
        kind = self._kinds[0]
        self._kinds = self._kinds[1:] + self._kinds[:1]
        self._git.config["protocol.version"] = kind.protocol
        with scratch(self._git.home / "clone") as clone:
            url = self._site.url(kind.repository)
            before = self._site.refs(kind.repository)
            began = time.monotonic()
            outcome = self._git.try_("clone", "--quiet", *kind.options, url, str(clone))
            if "not our ref" in outcome.text and kind.repository == "pushed":
                # Deleted between the list of refs and the question for it: HTTP keeps no state.
                self._ledger.refused(kind.name, "branch deleted meanwhile")
                return
            must_be_done(outcome, "clone", *kind.options, url)
            seconds = time.monotonic() - began
            after = self._site.refs(kind.repository)
            check_clone(self._site, self._git, clone, kind.repository)
            check_refs(self._git, clone, before, after, kind.prefixes)
        self._ledger.done(kind.name, seconds)


class Lister:
    """Lists the refs of all repositories, and asks for what it may not have."""

    def __init__(self, site: Site, ledger: Ledger, name: str) -> None:
        self._site, self._ledger = site, ledger
        self._git = site.git(name, site.reader)

    def __call__(self) -> None:
        for repository in self._site.heads.keys() - {VICTIM}:
            if self._site.over.is_set():
                return
            listed = must(self._git, "ls-remote", self._site.url(repository), "refs/heads/main")
            if listed.split()[:1] != [self._site.heads[repository]]:
                raise UnexpectedError("wrong content", f"ls-remote {repository}: {listed}")
            self._ledger.done("ls-remote")
        self._refused("repository_not_found", "ls-remote", self._site.url("nothing"))
        self._refused("repository_not_found", "ls-remote", self._site.url(f"{UPSTREAM}nothing"))
        small = self._site.front.repositories / "small.git"
        for prefix in ("", UPSTREAM):
            url = self._site.url(f"{prefix}pushed")
            self._refused("scope_missing", "-C", str(small), "push", url, "main:refs/heads/refused")

    def _refused(self, cause: str, *arguments: str) -> None:
        must_be_refused(self._git.try_(*arguments), cause)
        self._ledger.refused("git that is not permitted", cause)


class Pusher:
    """Pushes new branches, small and large, looks whether they are there, and deletes them again."""

    def __init__(
        self, site: Site, ledger: Ledger, promises: Promises, repository: str, name: str
    ) -> None:
        self._ledger, self._promises, self._repository = ledger, promises, repository
        self._work = Work(site, name, repository)
        self._branches: list[str] = []

    def __call__(self) -> None:
        self._work.begin_round()
        size = 3 * MIB if self._work.round % 6 == 0 else 2000
        commit_id = self._work.commit(size)
        branch = f"{SOAK}/{self._work.name}-{self._work.round}"
        self._promises.tried(self._repository, branch, commit_id)
        self._branches.append(branch)
        began = time.monotonic()
        self._work.push(f"HEAD:{branch}")
        self._promises.acknowledged(self._repository, branch, commit_id)
        kind = "push, 3 MiB" if size > MIB else "push, small"
        where = "upstream, " if self._repository.startswith(UPSTREAM) else ""
        self._ledger.done(f"{where}{kind}", time.monotonic() - began)
        listed = must(self._work.git, "ls-remote", "origin", branch, cwd=self._work.folder)
        if listed.split()[:1] != [commit_id]:
            raise UnexpectedError("lost push", f"{branch} is {listed!r}, not {commit_id}")
        if len(self._branches) > _BRANCHES_KEPT:
            self._delete(where)

    def _delete(self, where: str) -> None:
        old = self._branches[:-1]
        for branch in old:
            self._promises.tried(self._repository, branch)
        there = must(self._work.git, "ls-remote", "origin", *old, cwd=self._work.folder).split()[1::2]
        if there:
            self._work.push("--delete", *there)
        for branch in old:
            self._promises.acknowledged(self._repository, branch)
        self._branches = self._branches[-1:]
        self._ledger.done(f"{where}push, deletion")


class Fetcher:
    """Fetches what the pushers change, over and over, into one clone."""

    def __init__(self, site: Site, ledger: Ledger, repository: str, name: str) -> None:
        self._ledger = ledger
        self._work = Work(site, name, repository)

    def __call__(self) -> None:
        self._work.begin_round()
        branches = f"+{SOAK}/*:{SOAK}/*"
        must(self._work.git, "fetch", "--quiet", "--prune", "origin", branches, cwd=self._work.folder)
        must(self._work.git, *FSCK, cwd=self._work.folder)
        self._ledger.done("fetch")


class Maintenance:
    """Packs what was pushed and removes what was deleted, as those who run a Git server do."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._site, self._ledger = site, ledger

    def __call__(self) -> None:
        for name, path in self._site.repositories():
            if name.endswith(("pushed", VICTIM)):
                run_git(path, "gc", "--quiet", "--prune=10.minutes.ago")
                self._ledger.done("git gc on the server")
