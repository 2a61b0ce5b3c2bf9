"""What git itself answers, and what the proxy does, to the same question: bytes beside bytes."""

import http.client
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from gitpat_proxy.backends.base import Call
from gitpat_proxy.backends.cgi import environment, split_head
from gitpat_proxy.git.operation import operation_of
from gitpat_proxy.git.pktline import pkt_line
from tests.support.git import Git
from tests.support.proxy import Proxy
from tests.support.raw import basic

_UPLOAD_PACK = "application/x-git-upload-pack-request"


@dataclass(frozen=True)
class Asked:
    """One question to upload-pack; without a body it is for the advertisement."""

    protocol: str
    body: bytes = b""

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"

    @property
    def endpoint(self) -> str:
        return "git-upload-pack" if self.body else "info/refs"

    @property
    def query(self) -> str:
        return "" if self.body else "service=git-upload-pack"

    @property
    def headers(self) -> dict[str, str]:
        protocol = {"git-protocol": self.protocol} if self.protocol else {}
        return protocol | ({"content-type": _UPLOAD_PACK} if self.body else {})


def ls_refs(*arguments: str) -> Asked:
    """Return the question of protocol v2 for a list of refs (gitprotocol-v2, "ls-refs")."""
    lines = [pkt_line(f"{argument}\n".encode()) for argument in arguments]
    return Asked(
        "version=2",
        b"".join(
            [pkt_line(b"command=ls-refs\n"), pkt_line(b"object-format=sha1"), b"0001", *lines, b"0000"]
        ),
    )


QUESTIONS = (
    Asked(""),
    Asked("version=1"),
    Asked("version=2"),
    ls_refs("peel", "symrefs", "unborn"),
    ls_refs("peel", "symrefs", "ref-prefix refs/heads/", "ref-prefix refs/tags/", "ref-prefix HEAD"),
    ls_refs("ref-prefix refs/heads/"),
    ls_refs(),
)


async def _no_body() -> AsyncIterator[bytes]:
    return
    yield


@dataclass
class Reference:
    """git http-backend, run with the environment that the proxy gives it."""

    root: Path
    program: str = field(default_factory=lambda: f"{_exec_path()}/git-http-backend")

    def answer(self, repository: str, asked: Asked) -> bytes:
        """Return the body of the answer; it must be a good one."""
        path = (repository,)
        call = Call(
            operation=operation_of(asked.method, f"/{repository}/{asked.endpoint}", asked.query),
            path=path,
            headers=asked.headers,
            body=_no_body(),
            whole_body=asked.body,
            account="alice",
            token_id="lusab-babad",
            address="127.0.0.1",
            request_id="r1",
        )
        result = subprocess.run(
            [self.program],
            env=environment(call, str(self.root.resolve()), repository, "127.0.0.1", os.environ),
            cwd="/",
            input=asked.body,
            capture_output=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        parts = split_head(result.stdout)
        assert parts is not None
        assert b"Status:" not in parts[0], parts
        return parts[1]


def _exec_path() -> str:
    return subprocess.run(
        ["git", "--exec-path"], capture_output=True, check=True, text=True
    ).stdout.strip()


class Asker:
    """Asks a proxy on one connection that stays open."""

    def __init__(self, proxy: Proxy, secret: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
        self._authorization = {"authorization": basic(secret)}

    def answer(self, name: str, asked: Asked) -> tuple[int, bytes]:
        """Return status and body."""
        query = f"?{asked.query}" if asked.query else ""
        self._connection.request(
            asked.method,
            f"/{name}/{asked.endpoint}{query}",
            body=asked.body or None,
            headers=self._authorization | asked.headers,
        )
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        self._connection.close()


class CountingGit:
    """Stands in for `git http-backend`, which it calls, and counts how often it is."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        real = Git(folder / "home")("--exec-path").strip()
        self._count = folder / "count"
        self._count.touch()
        self.environment = {"GIT_EXEC_PATH": str(folder)}
        program = folder / "git-http-backend"
        program.write_text(f'#!/bin/sh\necho >>"{self._count}"\nexec "{real}/git-http-backend"\n')
        program.chmod(0o755)

    def seen(self) -> int:
        """Return how often it was called since the last `since`."""
        return self._count.stat().st_size

    def since(self) -> int:
        """Return the same, and begin at 0 again."""
        number = self.seen()
        os.truncate(self._count, 0)
        return number
