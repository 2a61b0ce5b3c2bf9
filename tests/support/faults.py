"""Faults of disk and database, real ones, and what people see of them."""

import functools
import json
import os
import re
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec

import pytest

from gitpat_proxy.access.model import AuditEvent, AuditFilter, AuditRow, Token
from gitpat_proxy.cli.context import Services
from gitpat_proxy.services.audit import Verification, search, verify
from tests.support import proxy as proxies
from tests.support.git import Git, Outcome, commit
from tests.support.proxy import Proxy, wait_until
from tests.support.secrets_seen import SEEN
from tests.support.tools import require, skip
from tests.support.visitor import Page, Visitor, person

Parameters = ParamSpec("Parameters")

_ROOT = Path(__file__).parents[2]
_PROGRAM = proxies.PROGRAM
LONGEST_WAIT = 200
"""Seconds: one request waits for another process' lock, and the next one behind it once more."""


def with_mounts(test: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Let a test mount file systems; one that is not root becomes it, in namespaces of its own."""

    @functools.wraps(test)
    def run(*arguments: Parameters.args, **named: Parameters.kwargs) -> None:
        if os.geteuid() == 0:
            test(*arguments, **named)
        else:
            _run_as_root_of_a_namespace(os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0])

    return run


def _run_as_root_of_a_namespace(test: str) -> None:
    require("unshare")
    apart = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode != 0:
        skip("neither root nor allowed to make namespaces, so nothing can be mounted")
    command = [*apart, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    result = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " skipped" not in result.stdout, result.stdout


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """Mount something over a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
    if result.returncode != 0:
        skip(f"nothing can be mounted here: {result.stderr.decode()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Have what is mounted there be for reading only."""
    for option in ("ro", "rw"):
        subprocess.run(["mount", "-o", f"remount,bind,{option}", str(folder)], check=True)
        if option == "ro":
            yield


def small_disk(folder: Path, kibibytes: int) -> Any:
    """Mount a file system of its own that soon is full."""
    return mounted(folder, "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs")


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Fill a small disk to the last byte; there is space again afterwards."""
    ballast = folder / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (65536, 512, 1):
            _write_all(descriptor, b"\0" * size)
        yield
    finally:
        os.close(descriptor)
        ballast.unlink()


def _write_all(descriptor: int, piece: bytes) -> None:
    with pytest.raises(OSError, match="No space left"):  # noqa: PT012
        while True:
            os.write(descriptor, piece)


def obey_modes(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have the program run without root's right to read and write whatever the modes say."""
    if os.geteuid() != 0:
        return
    require("setpriv")
    rights = "-dac_override,-dac_read_search"
    wrapper = folder / "gitpat-proxy-without-rights"
    wrapper.write_text(f'#!/bin/sh\nexec setpriv --bounding-set={rights} "{_PROGRAM}" "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(proxies, "PROGRAM", str(wrapper))


@contextmanager
def locked(database: Path, *, exclusively: bool) -> Iterator[None]:
    """Hold the lock for writing, as another process; `exclusively`: the one for reading, too."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        if exclusively:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("CREATE TABLE of_another_process (x)")
        yield
        connection.execute("ROLLBACK")


@dataclass
class People:
    """Those who use a proxy: with git, a program, a browser, and a shell on the server."""

    proxy: Proxy
    repository: str = "team/app"
    made: list[str] = field(default_factory=list)
    """The secrets of tokens that were acknowledged."""

    def __post_init__(self) -> None:
        person(self.proxy, "alice")
        self.git = self.proxy.git("code:write")
        self.secret, self.token = self.proxy.make_token("code:write", "tokens:write")
        self.browser = Visitor(self.proxy.port).sign_in()
        self.work = self.git.home / "work"
        self.git("clone", "--quiet", f"{self.proxy.url}/{self.repository}", str(self.work))
        self._commits = 0

    @property
    def path(self) -> Path:
        return self.proxy.repositories / f"{self.repository}.git"

    def push(self, size: int = 10) -> Outcome:
        """Push a new commit with so many bytes that can't be compressed."""
        self._commits += 1
        commit(self.git, self.work, f"file-{self._commits}", os.urandom(size))
        return self.git.try_("push", "origin", "HEAD:main", cwd=self.work)

    def fetch(self) -> Outcome:
        return self.git.try_("ls-remote", f"{self.proxy.url}/{self.repository}")

    def call(self, method: str, path: str, facts: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Call the API; return status and JSON."""
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        body = None if facts is None else json.dumps(facts).encode()
        request = urllib.request.Request(
            f"{self.proxy.url}/-/api/v1/{path}", body, headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=LONGEST_WAIT) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def make_token(self) -> tuple[int, Any]:
        """Make a token over the API."""
        facts = {"name": "Made", "scopes": ["code:read"], "expires": "1d"}
        status, answer = self.call("POST", "tokens", facts)
        if status == 201:
            SEEN.secrets.add(answer["token"])
            self.made.append(answer["token"])
        return status, answer

    def sign_in_again(self) -> Page:
        """Try to, with another browser."""
        return Visitor(self.proxy.port).submit("/-/sign-in", {"name": "alice", "password": "not it"})

    def assert_all_is_well(self) -> None:
        """All faces work, and what was acknowledged before is there."""
        assert self.fetch().ok
        pushed = self.push()
        assert pushed.ok, pushed.text
        status, answer = self.make_token()
        assert status == 201, answer
        self.browser.make_token("By the page")
        assert self.proxy.get("/-/ready")[0] == 200
        for secret in self.made:
            reader = Git(self.proxy.home("reader"), secret)
            reader("ls-remote", f"{self.proxy.url}/{self.repository}")
        self.assert_nothing_is_half_done()

    def assert_nothing_is_half_done(self) -> None:
        checks = Git(self.proxy.home("checks"))
        checks("fsck", "--strict", "--no-dangling", cwd=self.path)
        assert not list((self.path / "objects").glob("*incoming*"))
        head = self.git("rev-parse", "HEAD", cwd=self.work)
        known = checks("rev-parse", "main", cwd=self.path)
        assert known in {head, self.git("rev-parse", "origin/main", cwd=self.work)}
        tokens, events, verification = self.proxy.services(_kept)
        assert verification.broken is None
        created = [event.token for _, event in events if event.event == "token_created"]
        assert sorted(map(str, created)) == sorted(token.id for token in tokens)

    def until_audit_is_written(self) -> None:
        """Wait for what goes there by itself, of which a clone and a push are the last."""
        wait_until(lambda: {"clone", "push"} <= {event.event for _, event in self._events()})

    def pushes(self) -> list[AuditEvent]:
        return [event for _, event in self._events() if event.event == "push"]

    def _events(self) -> list[AuditRow]:
        return self.proxy.services(lambda services: search(services.database, AuditFilter()))


async def _kept(services: Services) -> tuple[list[Token], list[AuditRow], Verification]:
    return (
        await services.tokens.listed(None, None),
        await search(services.database, AuditFilter()),
        await verify(services.database),
    )


@contextmanager
def log_of(proxy: Proxy) -> Iterator[list[dict[str, Any]]]:
    """Collect the lines that are written while the block runs; none has a traceback."""
    before = len(proxy.log)
    lines: list[dict[str, Any]] = []
    yield lines
    new = proxy.log[before:]
    assert "Traceback" not in new, new
    lines += [json.loads(line) for line in new.split("\n") if line.startswith("{")]


def assert_reasons(lines: list[dict[str, Any]], cause: str) -> None:
    for line in lines:
        assert re.search(cause, line["reason"]), line


def assert_named_once(lines: list[dict[str, Any]], cause: str) -> None:
    """One line names the cause, beside the request's own."""
    failed = [line for line in lines if line["event"] == "database_failed"]
    assert len(failed) == 1, lines
    assert_reasons(failed, cause)


GIT_SENTENCE = "This proxy can't look up tokens at the moment; tell those who run it."
PAGE_SENTENCE = "This proxy can't reach its database at the moment. Tell those who run it."


def assert_git_is_told(people: People, cause: str) -> None:
    for action in (people.fetch, people.push):
        with log_of(people.proxy) as lines:
            outcome = action()
        assert not outcome.ok
        assert f"remote: {GIT_SENTENCE} (request " in outcome.text
        assert "error: 503" in outcome.text
        assert_named_once(lines, cause)


def assert_program_was_told(answer: tuple[int, Any]) -> None:
    status, problem = answer
    assert (status, problem["status"], problem["code"]) == (503, 503, "unavailable"), answer
    assert problem["detail"] == GIT_SENTENCE


def assert_browser_was_told(page: Page) -> None:
    assert page.status == 503, page.words
    assert PAGE_SENTENCE in page.words


def assert_writers_are_told(people: People, cause: str) -> None:
    with log_of(people.proxy) as lines:
        assert_program_was_told(people.make_token())
    assert_named_once(lines, cause)
    with log_of(people.proxy) as lines:
        assert_browser_was_told(people.sign_in_again())
    assert_named_once(lines, cause)


def assert_readers_are_told(people: People, cause: str) -> None:
    with log_of(people.proxy) as lines:
        assert_program_was_told(people.call("GET", "self"))
    assert_named_once(lines, cause)
    with log_of(people.proxy) as lines:
        assert_browser_was_told(people.browser.get("/-/tokens"))
    assert_named_once(lines, cause)
    assert people.proxy.get("/-/ready")[0] == 503


READING: list[list[str]] = [
    ["account", "list"],
    ["token", "list"],
    ["audit"],
    ["audit", "verify"],
]
WRITING: list[list[str]] = [
    ["account", "add", "bob"],
    ["token", "create", "--account", "alice", "--name", "Made", "--scope", "code:read"],
]


def assert_line(outcome: Outcome, cause: str) -> None:
    """One line says why."""
    assert outcome.code == 1, outcome
    assert outcome.text.count("\n") == 1, outcome
    assert outcome.text.startswith("gitpat-proxy: "), outcome
    assert re.search(cause, outcome.text), outcome


def assert_shell_is_told(proxy: Proxy, cause: str, *commands: list[str]) -> None:
    with ThreadPoolExecutor(3) as pool:
        for outcome in pool.map(lambda command: proxy.cli(*command), commands):
            assert_line(outcome, cause)


def assert_check_fails(proxy: Proxy, cause: str) -> None:
    outcome = proxy.cli("check")
    assert outcome.code == 1
    [line] = [line for line in outcome.text.splitlines() if line.startswith("FAIL")]
    assert re.search(f"^FAIL  database: .*{cause}", line), line


def assert_all_are_told(people: People, cause: str) -> None:
    """Nothing can be read: all faces say so, and what needs no database goes on."""
    assert_git_is_told(people, cause)
    assert_readers_are_told(people, cause)
    assert_writers_are_told(people, cause)
    assert people.proxy.get("/-/health") == (200, "alive\n")
