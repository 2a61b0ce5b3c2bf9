"""Faults of git, of its hooks and of the machine, real ones, and what is left when they are over."""

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import proxy as proxies
from tests.support.git import Git, Outcome, commit, make_repository
from tests.support.proxy import Proxy, wait_until
from tests.support.tools import require

_NUMBERS = itertools.count(1)
_SOME_USER = 54321
_READS_ALL = "+dac_override,+dac_read_search"


class Served:
    """A repository of a test's own behind a proxy, and a person who has cloned it."""

    def __init__(self, proxy: Proxy, **git: Any) -> None:
        self.proxy = proxy
        self.name = f"app{next(_NUMBERS)}"
        self.repository = make_repository(proxy.repositories / f"{self.name}.git")
        owner = proxy.repositories.stat().st_uid
        if owner != os.geteuid():
            subprocess.run(["chown", "-R", str(owner), self.repository], check=True)
        self.url = f"{proxy.url}/{self.name}"
        self.git = proxy.git("code:write", home=self.name, **git)
        self.git("clone", "--quiet", self.url, "work")
        self.work = self.git.home / "work"
        self._commits = 0

    def try_push(self, branch: str = "main") -> Outcome:
        """Push something new."""
        self._commit()
        return self.git.try_("push", "origin", f"HEAD:{branch}", cwd=self.work)

    def start_push(self, branch: str) -> Any:
        """Begin to push something new."""
        self._commit()
        return self.git.start("push", "origin", f"HEAD:{branch}", cwd=self.work)

    def _commit(self) -> None:
        self._commits += 1
        commit(self.git, self.work, content=str(self._commits).encode())

    def hook(self, name: str, *lines: str) -> Path:
        """Give the repository a shell script as its hook."""
        hook = self.repository / "hooks" / name
        hook.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        hook.chmod(0o755)
        return hook

    def refs(self) -> str:
        """Return the refs of the repository, which must be whole."""
        git = Git(self.proxy.home("checks"), variables={"GIT_CONFIG_COUNT": "1", **_TRUST_ALL})
        git("fsck", "--strict", cwd=self.repository)
        return git("for-each-ref", "--format=%(refname)", cwd=self.repository)

    def push_outcomes(self) -> list[str]:
        """Return what the audit says of each ref that was pushed here."""
        audit = self.proxy.audit_of(2, "--repository", self.name)
        pushes = [e["details"] for e in audit if e["event"] == "push"]
        return [update["outcome"] for details in pushes for update in details["updates"]]

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        """Return the lines of the log about this repository."""
        lines = self.proxy.log_lines()
        requests = {line["request"] for line in lines if line["repository"] == self.name}
        return [line for line in self.proxy.log_lines(event) if line["request"] in requests]

    def refused(self, code: str) -> list[int]:
        """Return the statuses of what the log says was refused so."""
        return [line["status"] for line in self.lines() if line["code"] == code]

    def said(self) -> list[str]:
        """Return what the log has of git's own words."""
        return [line["text"] for line in self.lines("git_said")]

    def assert_recovered(self) -> None:
        """Once the fault is over all goes on, without a restart, and nothing is left of it."""
        wait_until(lambda: not self.children(), 20, "the end of every git")
        outcome = self.try_push("afterwards")
        assert outcome.ok, outcome.text
        self.git("fetch", "--quiet", cwd=self.work)
        assert "refs/heads/afterwards" in self.refs()
        assert not list(self.repository.glob("objects/tmp_objdir*"))
        wait_until(lambda: not self.children(), 20, "the end of every git")
        wait_until(lambda: not self.proxy.open_pipes_and_sockets(), 10, "closed pipes and connections")

    def children(self) -> list[str]:
        """Return the commands of all that runs for the proxy."""
        found = []
        for process in self.proxy.children():
            with suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
        return found


_TRUST_ALL = {"GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}


class FakeGit:
    """Stands in for `git http-backend`, and behaves as its script says; as the real one at first."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        real = Path(Git(folder / "home")("--exec-path").strip()) / "git-http-backend"
        self._real = f'exec "{real}"'
        self.program = folder / "git-http-backend"
        self.recover()

    @property
    def environment(self) -> dict[str, str]:
        """`git --exec-path` names this folder; the git that is served by gets nothing of it."""
        return {"GIT_EXEC_PATH": str(self.program.parent)}

    def behave(self, *lines: str, at: str = "") -> None:
        """Exchange the script for the requests to come; `at`: for those to one endpoint alone."""
        others = [f'case "$PATH_INFO" in */{at}) ;; *) {self._real} ;; esac'] if at else []
        self.become("\n".join(["#!/bin/sh", *others, *lines, ""]))

    def become(self, text: str) -> None:
        """Exchange the file in one step."""
        new = self.program.with_name("new")
        new.write_text(text)
        new.chmod(0o755)
        new.rename(self.program)

    def recover(self) -> None:
        self.behave(self._real)


@contextmanager
def running(
    folder: Path, environment: dict[str, str] | None = None, user: int | None = None, **config: Any
) -> Iterator[Proxy]:
    """Run a proxy in this environment as long as the block runs; what it needs is this user's."""
    proxy = Proxy(folder, **config)
    if user is not None:
        subprocess.run(["chown", "-R", str(user), folder], check=True)
    try:
        yield proxy.start(environment)
    finally:
        if proxy.process:
            proxy.stop()


def _run_under(patch: pytest.MonkeyPatch, folder: Path, *command: str) -> None:
    wrapper = folder / "gitpat-proxy-wrapped"
    wrapper.write_text(f'#!/bin/sh\nexec {" ".join(command)} "{proxies.PROGRAM}" "$@"\n')
    wrapper.chmod(0o755)
    patch.setattr(proxies, "PROGRAM", str(wrapper))


def obey_modes(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Take from the program root's right to read and write what modes forbid."""
    if os.geteuid() == 0:
        require("setpriv")
        _run_under(patch, folder, "setpriv", "--bounding-set=-dac_override,-dac_read_search")


def obey_process_limit(patch: pytest.MonkeyPatch, folder: Path) -> int | None:
    """Run the program as a user whose processes are bounded, as root's are not; return that user.

    It keeps the right to read all, as this Python may lie where only root can read it.
    """
    if os.geteuid() != 0:
        return None
    require("setpriv")
    user = (f"--reuid={_SOME_USER}", "--clear-groups")
    rights = (f"--inh-caps={_READS_ALL}", f"--ambient-caps={_READS_ALL}")
    _run_under(patch, folder, "setpriv", *user, *rights)
    return _SOME_USER


@contextmanager
def limited(process: int, limit: str, most: int) -> Iterator[None]:
    """Let a process that runs have so much and no more, as long as the block runs; see prlimit(1)."""
    before = _prlimit(process, f"--{limit}", "--output=SOFT", "--noheadings").strip()
    _prlimit(process, f"--{limit}={most}:")
    try:
        yield
    finally:
        _prlimit(process, f"--{limit}={before}:")


def _prlimit(process: int, *arguments: str) -> str:
    """Ask as the process' own user, who may do so without any privilege."""
    require("prlimit")
    owner = psutil.Process(process).uids().real
    user = [] if owner == os.geteuid() else ["setpriv", f"--reuid={owner}", "--clear-groups"]
    command = [*user, "prlimit", "--pid", str(process), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
