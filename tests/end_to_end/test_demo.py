"""What the demo prints can be pasted, line by line."""

import re
import signal
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


def test_what_the_demo_prints_works_when_pasted(tmp_path: Path) -> None:
    port = free_port()
    with demo(tmp_path, port) as printed:
        lines = commands(printed)
        assert len(lines) == 10, printed
        refused = [line for line in lines if "demo-read push" in line]
        for line in lines:
            result = paste(line, tmp_path)
            assert (result.returncode == 0) == (line not in refused), f"{line}\n{result.stderr}"
            if line in refused:
                assert "has the scope code:read, but git-receive-pack needs code:write" in result.stderr
    git = Git(tmp_path / "checks")
    example = tmp_path / "demo" / "repositories" / "example.git"
    assert int(git("rev-list", "--count", "--all", cwd=example)) > 3000
    assert len(git("branch", "--list", cwd=example).split()) >= 5
    assert "v1.5" in git("tag", cwd=example)
    assert "My first change" in git("log", "-1", "--format=%s", "main", cwd=example)
    git("fsck", cwd=tmp_path / "demo" / "repositories" / "gitpat-proxy.git")

    with demo(tmp_path, free_port()) as printed:
        assert "gpat_" not in printed
        rotations = [line for line in commands(printed) if "token rotate" in line]
        assert len(rotations) == 2
        assert paste(rotations[0], tmp_path).stdout.startswith("gpat_")


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
    said = result.stdout
    scope = "has the scope work_items:read, but git-upload-pack needs code:read."
    revoked = "was revoked on"
    assert said.count("fatal: Authentication failed") == 2, said
    assert said.index(scope) < said.index("Cloning into 'session'...", said.index(scope))
    assert said.index("Cloning into 'session'...", said.index(scope)) < said.index(revoked)
    assert "only an example" in said
    assert (tmp_path / "session" / "src").is_dir()
    assert re.search(r"Work Items +work_items:read|Work Items +code:write +revoked", said)
