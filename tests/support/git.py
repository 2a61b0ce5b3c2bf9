"""The real git, apart from this machine's configuration."""

import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.secrets_seen import SEEN

_ASKPASS = """#!/bin/sh
case "$1" in
    Username*) cat "$(dirname "$0")/username" ;;
    *) cat "$(dirname "$0")/secret" ;;
esac
"""


@dataclass(frozen=True)
class Outcome:
    """What a command printed, both streams together, and its exit code."""

    code: int
    text: str

    @property
    def ok(self) -> bool:
        return self.code == 0


@dataclass
class Git:
    """A person's git, in a home folder of its own; it is asked for a password as a person is."""

    home: Path
    secret: str = ""
    username: str = "anyone"
    config: dict[str, str] = field(default_factory=dict)
    prompts: bool = True
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        askpass = self.home / "askpass"
        askpass.write_text(_ASKPASS)
        askpass.chmod(0o700)
        (self.home / "username").write_text(self.username)
        self.use(self.secret)

    def use(self, secret: str) -> None:
        """Answer with this secret from now on."""
        self.secret = secret
        (self.home / "secret").write_text(secret)

    @property
    def environment(self) -> dict[str, str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.org",
        }
        if self.prompts:
            environment["GIT_ASKPASS"] = str(self.home / "askpass")
        return environment | self.variables

    def command(self, *arguments: str) -> list[str]:
        options = {"init.defaultBranch": "main", "advice.detachedHead": "false"} | self.config
        settings = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        return ["git", *settings, *arguments]

    def try_(self, *arguments: str, cwd: Path | None = None, stdin: bytes = b"") -> Outcome:
        """Run a command and return what it printed, whether it succeeded or not."""
        result = subprocess.run(
            self.command(*arguments),
            cwd=cwd or self.home,
            env=self.environment,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
        )
        text = (result.stdout + result.stderr).decode("utf-8", "replace")
        SEEN.texts.append(text)
        return Outcome(result.returncode, text)

    def __call__(self, *arguments: str, cwd: Path | None = None, stdin: bytes = b"") -> str:
        """Run a command that must succeed."""
        outcome = self.try_(*arguments, cwd=cwd, stdin=stdin)
        assert outcome.ok, f"git {' '.join(arguments)} failed:\n{outcome.text}"
        return outcome.text

    def start(self, *arguments: str, cwd: Path | None = None) -> "subprocess.Popen[bytes]":
        """Start a command without waiting for it."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=cwd or self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill what `Git.start` began, with all that it began itself."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def commit(git: Git, work: Path, name: str = "file.txt", content: bytes = b"content\n") -> str:
    """Commit a file in a clone; return the commit's id."""
    (work / name).write_bytes(content)
    git("add", "--all", cwd=work)
    git("commit", "--quiet", "--message", f"Change {name}", cwd=work)
    return git("rev-parse", "HEAD", cwd=work).strip()


def make_repository(path: Path, *, commits: int = 3, options: tuple[str, ...] = ()) -> Path:
    """Make a bare repository with a short history of one file on main."""
    with tempfile.TemporaryDirectory() as home:
        git = Git(Path(home))
        git("init", "--quiet", "--bare", *options, str(path))
        if commits:
            git("fast-import", "--quiet", cwd=path, stdin="".join(_history(commits)).encode())
    return path


def _history(commits: int) -> list[str]:
    return [
        f"commit refs/heads/main\ncommitter Ada <ada@example.org> {1700000000 + number} +0000\n"
        f"data 3\nOne\nM 100644 inline file.txt\ndata {len(str(number))}\n{number}\n"
        for number in range(commits)
    ]
