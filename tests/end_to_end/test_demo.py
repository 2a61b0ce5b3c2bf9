"""What the demo prints can be pasted, line by line."""

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.git import Git
from tests.support.proxy import PROGRAM, free_port, wait_until


@contextmanager
def demo(folder: Path, port: int) -> Iterator[str]:
    """Run the demo; yield what it prints until it serves."""
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [PROGRAM, "demo", "--directory", str(folder / "demo"), "--port", str(port)],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "Ctrl-C ends it." in output.read_text(), 30, "the demo")
        yield output.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0, output.read_text()


def commands(printed: str) -> list[str]:
    return [
        line.strip() for line in printed.splitlines() if re.match(r"  (git|/\S*gitpat-proxy) ", line)
    ]


def paste(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = Git(folder / "home", prompts=False).environment
    return subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def paste_all(printed: str, folder: Path) -> None:
    """Every line works, but for the push that is meant to be refused.

    What asks for a password needs a terminal, which the tests don't have.
    """
    for line in commands(printed):
        if line.endswith("account password demo"):
            continue
        result = paste(line, folder)
        refused = "clone-read push" in line
        assert (result.returncode != 0) == refused, f"{line}\n{result.stderr}"
        if refused:
            assert "has the scope code:read, but git-receive-pack needs code:write" in result.stderr


def test_what_the_demo_prints_works_when_pasted(tmp_path: Path) -> None:
    port = free_port()
    with demo(tmp_path, port) as printed:
        assert len(commands(printed)) == 10, printed
        paste_all(printed, tmp_path)
    git = Git(tmp_path / "checks")
    example = tmp_path / "demo" / "repositories" / "example.git"
    assert int(git("rev-list", "--count", "--all", cwd=example)) > 3000
    assert len(git("branch", "--list", cwd=example).split()) >= 5
    assert "v1.5" in git("tag", cwd=example)
    assert "My first change" in git("log", "-1", "--format=%s", "main", cwd=example)
    git("fsck", cwd=tmp_path / "demo" / "repositories" / "gitpat-proxy.git")

    # The session revoked the second token: there is another, and of the first only the id is told.
    # What the first run left stays, and is not in the way.
    with demo(tmp_path, free_port()) as printed:
        assert printed.count("gpat_") == 1
        assert "  password  " not in printed
        assert sum("account password demo" in line for line in commands(printed)) == 1
        assert sum("token rotate" in line for line in commands(printed)) == 1
        paste_all(printed, tmp_path)
    made = {path.name for path in (tmp_path / "demo").iterdir() if path.name.startswith("clone-")}
    assert made == {"clone-read", "clone-write", "clone-write-2"}


def test_a_demo_that_can_not_listen_makes_no_token_that_nobody_sees(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run(
            [PROGRAM, "demo", "--directory", str(tmp_path / "demo"), "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert result.returncode == 1
    assert "address already in use" in result.stderr
    with demo(tmp_path, port) as printed:
        assert printed.count("gpat_") == 2


README = Path(__file__).parents[2] / "README.md"


def test_the_session_in_the_readme(tmp_path: Path) -> None:
    """The refusals and the successes that it promises, in its order."""
    port = free_port()
    [session] = re.findall(r"## A session to paste.*?```sh\n(.*?)```", README.read_text(), re.DOTALL)
    session = (
        session.replace("127.0.0.1:8418", f"127.0.0.1:{port}")
        .replace("$PWD/.venv/bin/gitpat-proxy", PROGRAM)
        .replace("$PWD/demo", str(tmp_path / "demo"))
        .replace("/tmp/gitpat-session", str(tmp_path / "session-store"))
    )
    with demo(tmp_path, port):
        script = tmp_path / "session.sh"
        script.write_text(f"shopt -s expand_aliases\n{session}")
        result = paste(f"bash {script} 2>&1", tmp_path)
    assert result.returncode == 0, result.stdout
    said = result.stdout
    steps = [
        "Cloning into 'session'",
        "has the scope work_items:read, but git-upload-pack needs code:read.",
        "fatal: Authentication failed",
        "Cloning into 'session'",
        'The token "Work Items"',
        "was revoked on",
        "only an example",
        "fatal: Authentication failed",
        "revoked",
        "token_revoked",
    ]
    place = 0
    for step in steps:
        assert step in said[place:], f"{step} is not where it should be in:\n{said}"
        place = said.index(step, place) + len(step)
    assert not (tmp_path / "session").exists()
    assert re.search(r"Work Items +code:write +revoked", said)
