"""Out of descriptors, processes, memory: the proxy says so, stays, and serves when there is room."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from tests.support.faults_git import Served, limited, obey_process_limit, running
from tests.support.proxy import Proxy, wait_until
from tests.support.tools import skip

pytestmark = pytest.mark.alone  # takes descriptors and processes away, and counts them

CAN_NOT_START = "The Git server behind this proxy can't start git ({why}); tell those who run it."


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy for which each limit of the machine holds, also where root runs the tests."""
    folder = tmp_path_factory.mktemp("machine")
    for above in [folder, *folder.parents][:-2]:
        above.chmod(0o755)
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            user = obey_process_limit(patch, folder)
            started = stack.enter_context(running(folder / "proxy", user=user))
        yield started


@pytest.fixture
def served(bounded: Proxy) -> Served:
    served = Served(bounded)
    assert served.try_push().ok
    wait_until(lambda: not bounded.open_pipes_and_sockets(), what="a proxy that has nothing to do")
    return served


def assert_can_not_start(served: Served, why: str) -> None:
    for outcome in (served.git.try_("ls-remote", served.url), served.try_push()):
        assert CAN_NOT_START.format(why=why) in outcome.text
        assert "The requested URL returned error: 502" in outcome.text
    assert served.refused("upstream_failed") == [502, 502]
    assert served.lines()[-1]["reason"] == CAN_NOT_START.format(why=why)


@pytest.mark.parametrize("left", [1, 3, 5, 6])
def test_out_of_descriptors(served: Served, left: int) -> None:
    """A connection takes one, git six and one more while it is started."""
    descriptors = psutil.Process(served.proxy.pid).num_fds()
    with limited(served.proxy.pid, "nofile", descriptors + left):
        assert_can_not_start(served, "Too many open files")
    served.assert_recovered()


def test_without_a_descriptor_for_a_connection(served: Served) -> None:
    """Who comes waits until there is one again."""
    lines = len(served.proxy.log_lines("asyncio"))
    with limited(served.proxy.pid, "nofile", 3):
        client = served.git.start("ls-remote", served.url)
        wait_until(lambda: len(served.proxy.log_lines("asyncio")) > lines, what="a line in the log")
        assert "socket.accept() out of system resource" in served.proxy.log_lines("asyncio")[-1]["text"]
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(3)
    output, _ = client.communicate(timeout=30)
    assert b"refs/heads/main" in output
    assert len(served.proxy.log_lines("asyncio")) <= lines + 10
    served.assert_recovered()


def test_out_of_processes(served: Served) -> None:
    with limited(served.proxy.pid, "nproc", 0):
        assert_can_not_start(served, "Resource temporarily unavailable")
    served.assert_recovered()


def test_out_of_processes_for_what_git_starts(served: Served) -> None:
    if os.geteuid() != 0:
        skip("only root can give the proxy a user of its own, whose processes can be counted")
    threads = psutil.Process(served.proxy.pid).num_threads()
    with limited(served.proxy.pid, "nproc", threads + 1):
        assert not served.git.try_("clone", served.url, "clone").ok
    assert any("unable to fork git-pack-objects" in text for text in served.said())
    # What http-backend has to start for it, too.
    served.git("config", "--file", "config", "http.uploadpack", "true", cwd=served.repository)
    with limited(served.proxy.pid, "nproc", threads + 1):
        outcome = served.git.try_("ls-remote", served.url)
    assert "The Git server behind this proxy failed: git gave no answer" in outcome.text
    assert served.refused("upstream_failed") == [502]
    served.assert_recovered()


def test_what_is_under_way_needs_no_more_processes(served: Served) -> None:
    began, go = served.git.home / "began", served.git.home / "go"
    served.hook("pre-receive", f"touch '{began}'", f"read go <'{go}'")
    os.mkfifo(go)
    push = served.start_push("under-way")
    wait_until(began.exists, what="the hook")
    with limited(served.proxy.pid, "nproc", 0):
        assert CAN_NOT_START.format(why="Resource temporarily unavailable") in (
            served.git.try_("ls-remote", served.url).text
        )
        go.write_text("go\n")
        output, _ = push.communicate(timeout=30)
    assert push.returncode == 0, output
    assert "refs/heads/under-way" in served.refs()
    served.hook("pre-receive", "exit 0")
    served.assert_recovered()


def test_out_of_memory(served: Served) -> None:
    """What fails then is left to chance; it is told in words, and the proxy stays."""
    with limited(served.proxy.pid, "as", 1024 * 1024):
        for _ in range(3):
            outcome = served.git.try_("ls-remote", served.url)
            assert "tell those who run it. (request " in outcome.text, outcome.text
    refused = [line for line in served.lines() if line["code"] and line["status"] != 401]
    assert refused
    assert {line["status"] for line in refused} <= {500, 502, 503}
    served.assert_recovered()
