"""Where the bench keeps its files, and what it runs on."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.errors import MissingError

PROJECT = Path(__file__).parents[1]
WORK = PROJECT / "bench" / "work"
# Debian keeps servers where the search path of ordinary users does not lead.
_SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def program(*names: str) -> str:
    """Return the path of the first of these programs that is there; raise MissingError."""
    for name in names:
        if path := shutil.which(name, path=_SEARCH_PATH):
            return path
    raise MissingError(f"{' or '.join(names)} is not installed")


def git_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which git heeds neither the machine's nor a person's settings."""
    return {
        "PATH": _SEARCH_PATH,
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Bench",
        "GIT_AUTHOR_EMAIL": "bench@example.org",
        "GIT_COMMITTER_NAME": "Bench",
        "GIT_COMMITTER_EMAIL": "bench@example.org",
        **(extra or {}),
    }


def described(command: str) -> list[str]:
    """Return the lines that tell when, on what and how the figures came about."""
    now = datetime.now(UTC)
    one_minute, _, fifteen_minutes = os.getloadavg()
    return [
        f"Date: {now:%Y-%m-%d %H:%M} UTC; command: `{command}`; gitpat-proxy at {_commit()}",
        f"Versions: Python {platform.python_version()}, aiohttp {version('aiohttp')}, "
        f"{_said('git', '--version')}, {_apache()}, {_said('nginx', '-v')}, {_said('fcgiwrap', '-h')}, "
        f"{_said('lighttpd', '-v')}, {_said('wrk', '-v')}",
        f"Machine: {platform.system()} {platform.release()}, {os.cpu_count()} cores "
        f"({_processor()}), {_memory_gib():.0f} GiB; load average when this was written "
        f"{one_minute:.1f} (1 minute), {fifteen_minutes:.1f} (15 minutes)",
    ]


def _apache() -> str:
    return _said("apache2", "-v", names=("apache2", "httpd"))


def _said(name: str, option: str, names: tuple[str, ...] = ()) -> str:
    """Return a program's name with the version that it prints."""
    try:
        path = program(*(names or (name,)))
    except MissingError:
        return f"no {name}"
    result = subprocess.run([path, option], capture_output=True, check=False, text=True)
    found = re.search(r"\d+\.\d+[.\d]*", result.stdout + result.stderr)
    return f"{name} {found[0] if found else 'of unknown version'}"


def _commit() -> str:
    git = ["git", "-C", str(PROJECT)]
    commit = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, check=False, text=True
    )
    if commit.returncode != 0:
        return f"version {version('gitpat-proxy')}"
    changes = subprocess.run(
        [*git, "status", "--porcelain", "--", "gitpat_proxy"], capture_output=True, check=False
    )
    return commit.stdout.strip() + (" with uncommitted changes" if changes.stdout else "")


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
