"""Hooks that fail, hang, print without end, or leave something behind."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.faults_git import Served, running
from tests.support.git import kill
from tests.support.proxy import Proxy, wait_until

MEBIBYTE = 1024 * 1024
A_MEGABYTE = "head -c 1000000 /dev/zero | tr '\\0' {letter} | fold -w 99"


@pytest.fixture(scope="module")
def proxy_with_hooks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with running(tmp_path_factory.mktemp("hooks") / "proxy") as proxy:
        yield proxy


@pytest.fixture
def served(proxy_with_hooks: Proxy) -> Served:
    return Served(proxy_with_hooks)


@pytest.fixture
def waiting(served: Served) -> Iterator["subprocess.Popen[bytes]"]:
    """A push whose hook never ends."""
    began = served.git.home / "began"
    served.hook("pre-receive", f"touch '{began}'", "exec sleep 1000")
    push = served.start_push("held")
    wait_until(lambda: began.exists() and processes(served, "sleep 1000"), what="the hook")
    yield push
    for process in processes(served, "sleep 1000"):
        process.kill()
    if push.poll() is None:
        kill(push)


def processes(served: Served, command: str) -> set[psutil.Process]:
    found = set()
    for process in served.proxy.children():
        with suppress(psutil.Error):
            if command in " ".join(process.cmdline()):
                found.add(process)
    return found


@pytest.mark.parametrize("hook", ["pre-receive", "post-receive"])
def test_a_hook_prints_a_megabyte_on_each_stream(served: Served, hook: str) -> None:
    served.hook(hook, A_MEGABYTE.format(letter="o"), A_MEGABYTE.format(letter="e") + " >&2")
    outcome = served.try_push()
    assert outcome.ok
    for letter in "oe":
        assert outcome.text.count(f"remote: {letter * 99} ") >= 10_000
    assert served.said() == []
    assert served.push_outcomes() == ["ok"]
    served.assert_recovered()


def test_what_a_hook_prints_takes_no_memory(served: Served) -> None:
    served.hook("post-receive", "head -c 67108864 /dev/zero | tr '\\0' x | fold -w 999 >&2")
    process = psutil.Process(served.proxy.pid)
    before = process.memory_info().rss
    assert served.try_push().ok
    assert process.memory_info().rss - before < 16 * MEBIBYTE
    assert served.lines()[-1]["bytes_out"] > 64 * MEBIBYTE
    served.hook("post-receive", "exit 0")
    served.assert_recovered()


FAILURES = {
    "refuses": ("#!/bin/sh\necho not like this >&2\nexit 1\n", "remote: not like this"),
    "broken": ("#!/bin/sh\nexec /nowhere/program\n", "/nowhere/program: not found"),
    "killed": ("#!/bin/sh\nkill -9 $$\n", "hooks/pre-receive died of signal 9"),
    "without its interpreter": ("#!/nowhere/shell\n", "hooks/pre-receive: No such file"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_hook_fails(served: Served, failure: str) -> None:
    """The person reads what the hook says; what git says of it is for the operator."""
    text, said = FAILURES[failure]
    hook = served.hook("pre-receive")
    hook.write_text(text)
    outcome = served.try_push("refused")
    assert "! [remote rejected] HEAD -> refused (pre-receive hook declined)" in outcome.text
    # The log has a request's line when its answer is over, which the client may read before.
    wait_until(lambda: said in outcome.text + "".join(served.said()), what="git's words")
    assert (said in outcome.text) == (failure in {"refuses", "broken"})
    assert served.push_outcomes() == ["ng"]
    assert "refused" not in served.refs()
    hook.unlink()
    served.assert_recovered()


def test_a_hook_that_hangs_is_ended_by_the_operator(
    served: Served, waiting: "subprocess.Popen[bytes]"
) -> None:
    """git then says what it always says of a hook that fails."""
    [hook] = processes(served, "sleep 1000")
    hook.terminate()
    output = waiting.communicate(timeout=30)[0].decode()
    assert "! [remote rejected] HEAD -> held (pre-receive hook declined)" in output
    assert served.push_outcomes() == ["ng"]
    served.hook("pre-receive", "exit 0")
    served.assert_recovered()


def test_a_hook_that_hangs_outlives_its_client_alone(
    served: Served, waiting: "subprocess.Popen[bytes]"
) -> None:
    """It may be about to accept the push; all that the client held is given back."""
    kill(waiting)
    wait_until(lambda: len(served.proxy.open_pipes_and_sockets()) <= 3, what="its connection's end")
    [hook] = processes(served, "sleep 1000")
    hook.terminate()
    wait_until(lambda: not served.children(), what="the end of the push")
    assert served.push_outcomes() == ["ng"]
    served.hook("pre-receive", "exit 0")
    served.assert_recovered()


LEFT = {
    "pre-receive": "sleep 1000 &",
    "update": "(sleep 1000; sleep 1000) &",
    "post-receive": "setsid sleep 1000 &",
    "post-update": "(trap '' TERM; while :; do sleep 1; done) &",
}


def test_processes_that_hooks_leave_behind_with_their_output_open(proxy_with_hooks: Proxy) -> None:
    """git would wait for them as long as they run, and its client with it."""
    left = {hook: Served(proxy_with_hooks) for hook in LEFT}
    pushes = {}
    for hook, served in left.items():
        served.hook(hook, LEFT[hook])
        pushes[hook] = served.start_push("accepted")
    for hook, push in pushes.items():
        output = push.communicate(timeout=60)[0].decode()
        assert push.returncode == 0, output
        served = left[hook]
        assert served.lines()[-1]["complete"]
        reasons = {line["reason"] for line in served.lines("hook_ended")}
        assert reasons == {"a hook left it behind with the hook's output open"}
        assert served.push_outcomes() == ["ok"]
        (served.repository / "hooks" / hook).unlink()
    for served in left.values():
        served.assert_recovered()


def test_a_process_that_has_let_go_of_the_hooks_output_lives_on(tmp_path: Path) -> None:
    """Neither the answer nor the order to stop waits for it, nor for one that has not let go."""
    with running(tmp_path / "proxy") as proxy:
        served = Served(proxy)
        served.hook("post-receive", "sleep 1001 >/dev/null 2>&1 &")
        assert served.try_push().ok
        wait_until(lambda: not proxy.open_pipes_and_sockets(), what="closed pipes and connections")
        began = served.git.home / "began"
        served.hook("post-receive", "sleep 1002 &", f"touch '{began}'")
        push = served.start_push("at-the-end")
        wait_until(began.exists, what="the hook")
        [left] = processes(served, "sleep 1001")
        assert proxy.stop(signal.SIGTERM) == 0
        kill(push)
        assert not processes(served, "sleep 1002")
        assert left.is_running()
        left.kill()
        assert "refs/heads/at-the-end" in served.refs()
        assert served.push_outcomes() == ["ok", "ok"]
