"""The clients: wrk, git itself, and a reader that does nothing with what it reads."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench.errors import BenchError
from bench.repositories import Repositories, run_git
from bench.servers import Server, give_to
from bench.surroundings import git_environment, program

_CONNECTIONS = 8
_READ_SIZE = 512 * 1024
_SILENCE_SECONDS = 60.0
_LONGEST_GIT_SECONDS = 300.0
_numbers = count(1)


@dataclass(frozen=True)
class Load:
    """What wrk did to a server, and what it cost."""

    requests_per_second: float
    cpu_milliseconds: float | None


def load(server: Server, path: str, headers: dict[str, str], status: int, seconds: float) -> Load:
    """Ask for one address over eight connections, without a pause; all answers must have the status."""
    environment = os.environ | {f"BENCH_{name}": value for name, value in headers.items()}
    command = [
        program("wrk"),
        *("-t", "1", "-c", str(_CONNECTIONS), "-d", f"{seconds:.0f}s"),
        *("-s", str(Path(__file__).with_name("wrk.lua"))),
        f"http://127.0.0.1:{server.port}/{path}",
    ]
    before = server.cpu_seconds()
    result = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
    cpu = server.cpu_seconds() - before
    if result.returncode != 0:
        raise BenchError(f"wrk failed: {result.stderr.strip()}")
    requests = _requests(result.stdout, status)
    return Load(_number(r"Requests/sec:\s+([\d.]+)", result.stdout), cpu * 1000 / requests)


def _requests(output: str, status: int) -> float:
    """Return how many were answered; raise BenchError if some were not answered as they should be."""
    requests = _number(r"(\d+) requests in", output)
    others = _number(r"Non-2xx or 3xx responses: (\d+)", output)
    if requests == 0:
        raise BenchError("wrk got no answer")
    if others != (0 if status == 200 else requests):
        raise BenchError(f"wrk got other answers than {status}: {others:.0f} of {requests:.0f} not 200")
    return requests


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    return float(found[1]) if found else 0.0


class Git:
    """git as a person runs it: no credentials at first, then, challenged, those that it is given."""

    def __init__(self, scratch: Path, repositories: Repositories) -> None:
        self.scratch = scratch
        self.repositories = repositories
        self._asked = scratch / "asked"
        self._asked.write_text("#!/bin/sh\nprintf '%s\\n' \"$BENCH_SECRET\"\n")
        self._asked.chmod(0o755)

    def list_references(self, server: Server, repository: str) -> float:
        """Return the seconds that `git ls-remote` takes."""
        return self._run(server, "ls-remote", "--quiet", server.url(repository))

    def clone(self, server: Server, repository: str) -> float:
        """Return the seconds that a clone takes; without a work tree, which no server has a part in."""
        folder = self.scratch / "clone.git"
        try:
            return self._run(server, "clone", "--quiet", "--bare", server.url(repository), str(folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def push(self, server: Server, source: Path) -> float:
        """Return the seconds that a push into a new, empty repository takes."""
        with self._target(server) as target:
            return self._run(server, "-C", str(source), "push", "--quiet", server.url(target), "main")

    @contextmanager
    def _target(self, server: Server) -> Iterator[str]:
        name = f"target-{os.getpid()}-{next(_numbers)}.git"
        folder = self.repositories.served / name
        try:
            run_git("init", "--quiet", "--bare", "--initial-branch=main", str(folder))
            give_to(server.file_owner(), folder)
            yield name
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, server: Server, *arguments: str) -> float:
        environment = git_environment({"GIT_ASKPASS": str(self._asked), "BENCH_SECRET": server.secret})
        begin = time.perf_counter()
        try:
            result = subprocess.run(
                ["git", *arguments],
                env=environment,
                capture_output=True,
                check=False,
                text=True,
                timeout=_LONGEST_GIT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"git took more than {_LONGEST_GIT_SECONDS:.0f} s") from None
        seconds = time.perf_counter() - begin
        if result.returncode != 0:
            raise BenchError(f"git failed: {result.stderr.strip()}")
        return seconds


def stream(server: Server, repositories: Repositories, repository: str) -> float:
    """Return the megabytes a second at which a whole clone arrives where nothing is done with it."""
    request = _clone_request(server, repositories, repository)
    buffer = memoryview(bytearray(_READ_SIZE))
    begin = time.perf_counter()
    with socket.create_connection(("127.0.0.1", server.port), _SILENCE_SECONDS) as connection:
        connection.sendall(request)
        size, tail = connection.recv_into(buffer), b""
        status = bytes(buffer[:size]).partition(b"\r\n")[0].decode("latin-1")
        total = size
        while size:
            tail = (tail + bytes(buffer[max(0, size - 16) : size]))[-16:]
            size = connection.recv_into(buffer)
            total += size
    seconds = time.perf_counter() - begin
    if " 200 " not in status or b"0000" not in tail:
        raise BenchError(f"the answer to a clone's request is not whole: {status}, {total} bytes")
    return total / 1e6 / seconds


def _clone_request(server: Server, repositories: Repositories, repository: str) -> bytes:
    """Return what git sends to clone (gitprotocol-v2, "fetch"), for a connection of its own."""
    body = _clone_body(repositories.served / repository)
    head = (
        f"POST /{repository}/git-upload-pack HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{server.port}\r\n"
        f"Authorization: {server.authorization(server.secret)}\r\n"
        "Content-Type: application/x-git-upload-pack-request\r\n"
        "Accept: application/x-git-upload-pack-result\r\n"
        "Git-Protocol: version=2\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


def _clone_body(repository: Path) -> bytes:
    heads = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "refs/heads/main"],
        env=git_environment(),
        capture_output=True,
        check=True,
        text=True,
    )
    arguments = ("no-progress", "ofs-delta", f"want {heads.stdout.strip()}", "done")
    return (
        _packet("command=fetch")
        + _packet("object-format=sha1")
        + b"0001"
        + b"".join(map(_packet, arguments))
        + b"0000"
    )


def _packet(text: str) -> bytes:
    return f"{len(text) + 5:04x}{text}\n".encode()
