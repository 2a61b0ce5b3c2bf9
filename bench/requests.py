"""What git sends to upload-pack in protocol 2 (gitprotocol-v2), as bytes for a connection of its own."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.servers import Server
from bench.surroundings import git_environment

CONTENT_TYPE = "application/x-git-upload-pack-request"
PROTOCOL = "version=2"


def post(server: Server, repository: str, body: str) -> bytes:
    """Return the whole request; the connection ends with its answer."""
    head = (
        f"POST /{repository}/git-upload-pack HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{server.port}\r\n"
        f"Authorization: {server.authorization(server.secret)}\r\n"
        f"Content-Type: {CONTENT_TYPE}\r\n"
        "Accept: application/x-git-upload-pack-result\r\n"
        f"Git-Protocol: {PROTOCOL}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return (head + body).encode()


def listing() -> str:
    """Return the body that asks for all refs, as `git ls-remote` does."""
    return _command("ls-refs", ["peel", "symrefs"])


def clone(repository: Path) -> str:
    """Return the body that asks for all of main."""
    return _command("fetch", [*_ALWAYS, f"want {_commit(repository, 'main')}", "done"])


def shallow_clone(repository: Path) -> str:
    """Return the body of a clone with depth 1."""
    want = f"want {_commit(repository, 'main')}"
    return _command("fetch", [*_ALWAYS, "deepen 1", want, "done"])


def update(repository: Path) -> str:
    """Return the body of a fetch by a client that has all but the last commit."""
    want, have = _commit(repository, "main"), _commit(repository, "main~1")
    return _command("fetch", [*_ALWAYS, f"want {want}", f"have {have}"])


_ALWAYS = ("thin-pack", "no-progress", "include-tag", "ofs-delta")


def _command(name: str, arguments: Sequence[str]) -> str:
    head = _packet(f"command={name}") + _packet("object-format=sha1")
    return head + "0001" + "".join(map(_packet, arguments)) + "0000"


def _commit(repository: Path, name: str) -> str:
    result = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", f"refs/heads/{name}"],
        env=git_environment(),
        capture_output=True,
        check=True,
        text=True,
    )
    return result.stdout.strip()


def _packet(text: str) -> str:
    return f"{len(text) + 5:04x}{text}\n"
