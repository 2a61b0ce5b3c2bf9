"""How long a push that has arrived may take: real hooks of a real git, without a proxy around it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gitpat_proxy.backends.answers import Answers
from gitpat_proxy.backends.base import Call, bytes_of
from gitpat_proxy.backends.hooks import HookWatch
from gitpat_proxy.backends.http_backend import HttpBackend
from gitpat_proxy.config.model import Config, Limits
from gitpat_proxy.git.operation import operation_of
from gitpat_proxy.git.pktline import pkt_line
from tests.support.git import Git, make_repository
from tests.support.raw import EMPTY_PACK

CONFIG = Config.model_construct(
    limits=Limits().model_copy(update={"hook_seconds": 0}),
    public_url="http://localhost",
    workers=1,
    spool=Path("/var/tmp"),
    ref_cache_bytes=0,
    pack_cache_seconds=0,
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "root" / "app.git")


async def push(repository: Path, hook: str, script: str) -> str:
    """Push a new branch to a backend whose hooks have no time at all; return git's answer."""
    path = repository / "hooks" / hook
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    head = Git(repository.parent / "home")("rev-parse", "main", cwd=repository).strip()
    command = f"{'0' * 40} {head} refs/heads/new\0report-status side-band-64k".encode()

    async def body() -> AsyncIterator[bytes]:
        yield pkt_line(command) + b"0000" + EMPTY_PACK

    call = Call(
        operation=operation_of("POST", "/app/git-receive-pack", ""),
        path=("app",),
        headers={},
        body=body(),
        whole_body=None,
        account="alice",
        token_id="lusab-babad",
        address="192.0.2.7",
        request_id="r1",
    )
    backend = HttpBackend(repository.parent, CONFIG, Answers(CONFIG))
    answer = b""
    async with backend.serve(call, lambda: None) as given:
        async for piece in given.body:
            answer += bytes_of(piece)
    await backend.close()
    return answer.decode()


@pytest.mark.parametrize(
    "script", ["exec sleep 1000", "sleep 1000", "trap '' TERM; while :; do sleep 1; done"]
)
async def test_a_hook_that_takes_too_long_is_ended_and_git_refuses(
    repository: Path, script: str
) -> None:
    with capture_logs() as lines:
        answer = await push(repository, "pre-receive", script)
    assert "ng refs/heads/new pre-receive hook declined" in answer
    ended = [line for line in lines if line["event"] == "hook_ended"]
    assert ended[0]["reason"] == "a hook took longer than 0 s"
    assert {line["request"] for line in ended} == {"r1"}
    assert "new" not in Git(repository.parent / "home")("for-each-ref", cwd=repository)


async def test_what_git_had_done_before_stays_done(repository: Path) -> None:
    answer = await push(repository, "post-receive", "exec sleep 1000")
    assert "ok refs/heads/new" in answer
    assert answer.endswith("0000")
    assert "refs/heads/new" in Git(repository.parent / "home")("for-each-ref", cwd=repository)


def test_where_nothing_runs_nothing_is_ended() -> None:
    with capture_logs() as lines:
        HookWatch(2**22 + 1, 0, "r1", is_started_by_git=True).look()
    assert lines == []
