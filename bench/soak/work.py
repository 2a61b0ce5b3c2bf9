"""What those who push and clone have in common: git that must succeed, clones, what was promised."""

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

from bench.soak.ledger import UnexpectedError, cause_of
from bench.soak.site import Site, scratch
from tests.support.git import Git, Outcome, commit

MIB = 1024 * 1024
SOAK = "refs/heads/soak"
FSCK = ("fsck", "--no-progress", "--no-dangling")
_ROUNDS_IN_A_CLONE = 40


def must(git: Git, *arguments: str, cwd: Path | None = None) -> str:
    """Run git; raise UnexpectedError with the cause and what it printed if it fails."""
    return must_be_done(git.try_(*arguments, cwd=cwd), *arguments)


def must_be_done(outcome: Outcome, *arguments: str) -> str:
    """Return what git printed; raise UnexpectedError if it failed."""
    if not outcome.ok:
        raise UnexpectedError(cause_of(outcome.text), f"git {' '.join(arguments)}:\n{outcome.text}")
    return outcome.text


def must_be_refused(outcome: Outcome, *causes: str) -> str:
    """Return for which of these causes it was."""
    cause = "permitted" if outcome.ok else cause_of(outcome.text)
    if cause not in causes:
        raise UnexpectedError(cause, f"a refusal was due ({', '.join(causes)}):\n{outcome.text}")
    return cause


def check_clone(site: Site, git: Git, clone: Path, repository: str) -> None:
    """Raise UnexpectedError unless it is whole and has the server's main."""
    head = must(git, "rev-parse", "main", cwd=clone).strip()
    if head != site.heads[repository]:
        raise UnexpectedError("wrong content", f"{repository}: main is {head}")
    must(git, *FSCK, cwd=clone)


def check_refs(
    git: Git, clone: Path, before: dict[str, str], after: dict[str, str], prefixes: tuple[str, ...]
) -> None:
    """Raise UnexpectedError unless a clone has the server's refs of these kinds.

    `before` and `after` are the server's when the clone began and when it was over; one that has changed
    in between may be either way.
    """
    listed = must(git, "for-each-ref", "--format=%(refname) %(objectname)", cwd=clone).splitlines()
    there = dict(line.split() for line in listed)
    for ref in sorted(there.keys() | before.keys() | after.keys()):
        possible = {before.get(ref), after.get(ref)}
        if ref.startswith(prefixes) and there.get(ref) not in possible:
            raise UnexpectedError("wrong content", f"{clone}: {ref} is {there.get(ref)}, not {possible}")


@dataclass
class Promises:
    """Which branches must be on the server in the end, and which may be."""

    kept: dict[tuple[str, str], str] = field(default_factory=dict)
    possible: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tried(self, repository: str, branch: str, commit_id: str = "") -> None:
        """Until it is acknowledged, a push may have happened or not; without a commit it deletes."""
        with self.lock:
            before = self.kept.pop((repository, branch), "")
            self.possible.setdefault((repository, branch), {before}).add(commit_id)

    def acknowledged(self, repository: str, branch: str, commit_id: str = "") -> None:
        with self.lock:
            self.possible.pop((repository, branch), None)
            if commit_id:
                self.kept[repository, branch] = commit_id

    def broken(self, repository: str, there: dict[str, str]) -> list[str]:
        """Name what differs from what was promised; `there` are the branches on the server."""
        wanted = {branch: {at} for (where, branch), at in self.kept.items() if where == repository}
        wanted |= {branch: ids for (where, branch), ids in self.possible.items() if where == repository}
        return [
            f"{repository} {branch}: {there.get(branch, '')!r} and not {wanted.get(branch, {''})}"
            for branch in sorted(wanted.keys() | there.keys())
            if there.get(branch, "") not in wanted.get(branch, {""})
        ]


class Work:
    """A clone to push from; it is made anew now and then, so that it stays small."""

    def __init__(self, site: Site, name: str, repository: str) -> None:
        self._site, self._repository = site, repository
        self.name = name
        self.round = 0
        self.git = site.git(name, site.writer)
        self.folder = self.git.home / "work"

    def begin_round(self) -> None:
        if self.round % _ROUNDS_IN_A_CLONE == 0:
            with scratch(self.folder):
                pass
            url = self._site.url(self._repository)
            must(self.git, "clone", "--quiet", "--single-branch", url, str(self.folder))
        self.round += 1

    def commit(self, size: int) -> str:
        """Commit a file of so many bytes on top of main; return the commit's id."""
        must(self.git, "checkout", "--quiet", "--detach", "origin/main", cwd=self.folder)
        # A few contents again and again: the server keeps each once.
        content = random.Random(f"{self.name} {self.round % 4}").randbytes(size)
        return commit(self.git, self.folder, f"{self.name}.bin", content)

    def push(self, *refspecs: str) -> None:
        must(self.git, "push", "--quiet", "origin", *refspecs, cwd=self.folder)
