"""A real gitpat-proxy: its own process, its own database, its own folder."""

import itertools
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml

from gitpat_proxy.access.model import Author, Token
from gitpat_proxy.cli.context import Invocation, Services
from gitpat_proxy.services.tokens import TokenFacts
from tests.support.git import Git, Outcome
from tests.support.secrets_seen import SEEN

PROGRAM = str(Path(sys.executable).parent / "gitpat-proxy")
Result = TypeVar("Result")

_UNVERIFIED = ssl.create_default_context()
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE


def _ports() -> Iterator[int]:
    """Ports below the range from which the kernel gives some, each pytest-xdist worker's its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first, number = 20_000 + worker % 12 * 1_000, 1_000
    start = random.randrange(number)
    return itertools.cycle(first + (start + step) % number for step in range(number))


_some_ports = _ports()


def free_port() -> int:
    """Return a port that nobody has, and that nobody else is told soon."""
    for port in _some_ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is always a next one")


def wait_until(condition: Callable[[], object], seconds: float = 10, what: str = "it") -> None:
    """Return when the condition holds; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {seconds} s"
        time.sleep(0.02)


class Proxy:
    """One installation below `folder`; `start` serves it."""

    def __init__(self, folder: Path, port: int | None = None, **config: Any) -> None:
        self.folder = folder
        self.repositories = folder / "repositories"
        self.repositories.mkdir(parents=True)
        self.port = port or free_port()
        scheme, host = ("https", "localhost") if "tls" in config else ("http", "127.0.0.1")
        self.url = f"{scheme}://{host}:{self.port}"
        self.config_file = folder / "config.yaml"
        self.log_file = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self._open_at_start: set[str] = set()
        self.config = {
            "listen": f"127.0.0.1:{self.port}",
            "public_url": self.url,
            "scopes": {"work_items:read": "Work items (read)"},
            "routes": [{"path": "/", "repositories": "repositories"}],
        } | config
        self.config_file.write_text(yaml.safe_dump(self.config))
        SEEN.folders.add(folder)

    def start(self, environment: dict[str, str] | None = None) -> "Proxy":
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "--config", str(self.config_file), "serve"],
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._listens, 60, f"a proxy that listens:\n{self.log}")
        self._open_at_start = set()
        self._open_at_start = self.open_pipes_and_sockets()
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process = None
        return code

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def log_lines(self, event: str = "request") -> list[dict[str, Any]]:
        """Return the structured lines of one kind, those of requests answered before included."""
        if event == "request":
            # A client has its answer's last byte before the line is written, in one turn of the loop.
            with suppress(OSError, HTTPException):
                self.get("/-/health")
        lines = [json.loads(line) for line in self.log.split("\n") if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def children(self) -> list[psutil.Process]:
        """Return all that runs below the proxy, and every git that serves one of its repositories."""
        below = psutil.Process(self.pid).children(recursive=True) if self.process else []
        return below + [p for p in psutil.process_iter() if _serves(p, self.repositories)]

    def open_pipes_and_sockets(self) -> set[str]:
        """Return what operations hold open: all that was not there when the proxy began."""
        opened = set()
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(OSError):
                opened.add(str(link.readlink()))
        names = {name for name in opened if name.startswith(("pipe:", "socket:"))}
        return names - self._open_at_start

    def cli(self, *arguments: str, stdin: str = "") -> Outcome:
        """Run the command line, as an operator does."""
        result = subprocess.run(
            [PROGRAM, "--config", str(self.config_file), *arguments],
            input=stdin.encode(),
            capture_output=True,
            check=False,
            timeout=120,
        )
        SEEN.texts.append(result.stderr.decode())
        text = result.stdout if result.returncode == 0 else result.stdout + result.stderr
        return Outcome(result.returncode, text.decode())

    def ok(self, *arguments: str, stdin: str = "") -> str:
        """Run a command that must succeed; return its standard output."""
        outcome = self.cli(*arguments, stdin=stdin)
        assert outcome.ok, outcome.text
        return outcome.text

    def services(self, action: Callable[[Services], Awaitable[Result]]) -> Result:
        """Act on the database from this process: for the proxy, another one."""
        return Invocation(self.config_file).run(action)

    def make_account(self, name: str = "alice") -> str:
        async def action(services: Services) -> None:
            if name not in {account.name for account in await services.accounts.listed()}:
                await services.accounts.add(name, administrator=False, service=False, by=Author("test"))

        self.services(action)
        return name

    def make_token(self, *scopes: str, account: str = "alice", **facts: Any) -> tuple[str, Token]:
        """Return secret and token of an account that is made if need be."""
        self.make_account(account)
        facts = {"name": "Test", "scopes": list(scopes) or ["code:write"]} | facts
        secret, token = self.services(
            lambda services: services.tokens.create(account, TokenFacts(**facts), by=Author("test"))
        )
        SEEN.secrets.add(secret)
        return secret, token

    def git(self, *scopes: str, home: str = "home", **options: Any) -> Git:
        """Return a person's git with a new token for these scopes."""
        return Git(self.home(home), self.make_token(*scopes)[0], **options)

    def home(self, name: str = "home") -> Path:
        """Return a person's folder, apart from where the proxy writes."""
        return self.folder.parent / f"{self.folder.name}-{name}"

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Ask for an address; return status and text."""
        return self._asked(urllib.request.Request(self.url + path, headers=headers or {}))

    def post(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        """Send something to an address; return status and text."""
        return self._asked(urllib.request.Request(self.url + path, body, headers))

    def _asked(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=20, context=_UNVERIFIED) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def audit_of(self, number: int, *arguments: str) -> list[dict[str, Any]]:
        """Return the audit once it has so many events; reads are written within a second."""
        for _ in range(10):
            events: list[dict[str, Any]] = json.loads(self.ok("audit", "--json", *arguments))
            if len(events) >= number:
                break
        return events

    def _listens(self) -> bool:
        assert self.process is None or self.process.poll() is None, self.log
        try:
            return self.get("/-/health")[0] == 200
        except OSError:
            return False


def _serves(process: psutil.Process, repositories: Path) -> bool:
    try:
        return process.environ().get("GIT_PROJECT_ROOT") == str(repositories.resolve())
    except psutil.Error:
        return False
