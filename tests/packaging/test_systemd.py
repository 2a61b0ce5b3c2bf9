"""The units are what systemd understands, as closed as they promise, and let the proxy and git work."""

import ctypes.util
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copy

import pytest

from gitpat_proxy.config.model import Config
from tests.packaging import confined
from tests.support.git import commit, make_repository
from tests.support.proxy import PROGRAM, Proxy
from tests.support.tools import require
from tests.support.visitor import Visitor, person

PACKAGING = Path(__file__).parents[2] / "packaging" / "systemd"
SERVICE = PACKAGING / "gitpat-proxy.service"
INSTALLED = "/opt/gitpat-proxy/bin/gitpat-proxy"


def _analyze(*arguments: str) -> str:
    """Run systemd-analyze; it must find nothing."""
    require("systemd-analyze")
    result = subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for unit in PACKAGING.iterdir():
        copy(unit, tmp_path)
    service = tmp_path / SERVICE.name
    service.write_text(SERVICE.read_text().replace(INSTALLED, "/bin/true"))

    said = _analyze("verify", *map(str, tmp_path.iterdir()))

    assert not said


def test_the_service_is_closed() -> None:
    _analyze("security", "--offline=true", "--threshold=20", str(SERVICE))


def test_the_service_starts_what_there_is() -> None:
    [line] = confined.values(SERVICE, "ExecStart")
    program, *arguments = shlex.split(line)

    result = subprocess.run([PROGRAM, *arguments, "--help"], capture_output=True, text=True, check=False)

    assert program == INSTALLED
    assert result.returncode == 0, result.stderr
    assert "Serve until SIGTERM" in result.stdout


def test_a_stop_takes_no_less_than_operations_may_go_on() -> None:
    [stop] = confined.values(SERVICE, "TimeoutStopSec")
    seconds = int(_analyze("timespan", stop).split("μs: ")[1].split()[0]) / 1_000_000

    assert seconds > 2 * Config.model_fields["drain_seconds"].default


@pytest.fixture
def confine(tmp_path: Path) -> list[str]:
    """What runs the rest of a command as confined as the service."""
    require("systemd-analyze")
    require(confined.LIBRARY, found=ctypes.util.find_library("seccomp") is not None)
    return [sys.executable, confined.__file__, str(SERVICE)]


@pytest.mark.parametrize(
    "forbidden",
    [
        "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "import os; os.chroot('/')",
        "import os; os.setgroups([])",
    ],
)
def test_a_confined_program_may_not(confine: list[str], forbidden: str) -> None:
    result = subprocess.run(
        [*confine, sys.executable, "-c", forbidden], capture_output=True, text=True, check=False
    )

    assert result.returncode == 1
    assert "not permitted" in result.stderr or "not supported" in result.stderr, result.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_the_proxy_works_confined(
    confine: list[str],
    start_proxy: Callable[..., Proxy],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    """Pushes with a hook, into a repository that a group shares, clones, and the hash of a password."""
    program = tmp_path / "gitpat-proxy"
    program.write_text(f'#!/bin/sh\nexec {shlex.join([*confine, PROGRAM])} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr("tests.support.proxy.PROGRAM", str(program))
    proxy = start_proxy(workers=workers)
    repository = make_repository(proxy.repositories / "app.git", options=("--shared=all",))
    hook = repository / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\ncp -p HEAD copy && grep -c . copy && sleep 0 && echo allowed by $$\n")
    hook.chmod(0o755)
    git = proxy.git("code:write")
    work = tmp_path / "work"

    git("clone", "--quiet", f"{proxy.url}/app", str(work))
    commit(git, work)
    pushed = git.try_("push", "origin", "HEAD", cwd=work)
    person(proxy, "bob")

    assert pushed.ok, pushed.text
    assert "remote: allowed by" in pushed.text
    Visitor(proxy.port).sign_in("bob")
    assert proxy.stop() == 0
