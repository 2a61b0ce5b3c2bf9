"""The clients: wrk, and git itself."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bench.errors import BenchError
from bench.repositories import Repositories, run_git
from bench.servers import USERNAME, Server, give_to
from bench.surroundings import git_environment, program

_CONNECTIONS = 8
_LONGEST_GIT_SECONDS = 300.0
_numbers = count(1)


@dataclass(frozen=True)
class Question:
    """What wrk asks again and again, and the status that must answer it; with a body it is a POST."""

    path: str
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    body: str = ""


@dataclass(frozen=True)
class Load:
    """What wrk did to a server, and what it cost."""

    requests_per_second: float
    cpu_milliseconds: float


def load(server: Server, question: Question, seconds: float) -> Load:
    """Ask over eight connections, without a pause; all answers must have the status."""
    environment = {f"BENCH_{name}": value for name, value in question.headers.items()}
    if question.body:
        environment["BENCH_BODY"] = question.body
    command = [
        program("wrk"),
        *("-t", "1", "-c", str(_CONNECTIONS), "-d", f"{seconds:.0f}s"),
        *("-s", str(Path(__file__).with_name("wrk.lua"))),
        f"http://127.0.0.1:{server.port}/{question.path}",
    ]
    before = server.cpu_seconds()
    result = subprocess.run(
        command, env=os.environ | environment, capture_output=True, check=False, text=True
    )
    cpu = server.cpu_seconds() - before
    if result.returncode != 0:
        raise BenchError(f"wrk failed: {result.stderr.strip()}")
    requests = _requests(result.stdout, question.status)
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
        self._asked.write_text(
            f'#!/bin/sh\ncase $1 in Username*) echo {USERNAME};; *) echo "$BENCH_SECRET";; esac\n'
        )
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
