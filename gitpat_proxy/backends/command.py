"""How git is called for an operation: the service itself, or `git http-backend`, the reference.

`git http-backend` does little more for the two services that clients ask for all day than to start them,
which costs two processes instead of one. Where that is all it would do, it is left out: see
docs/decisions/0024.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gitpat_proxy.backends.base import Call
from gitpat_proxy.backends.cgi import protocol_of
from gitpat_proxy.git.body import whole_content
from gitpat_proxy.git.operation import Kind, Operation, Service, protocol_version
from gitpat_proxy.git.pktline import pkt_line

_SERVICES = frozenset({Service.UPLOAD_PACK, Service.RECEIVE_PACK})
# Only those have an effect on http-backend: http.uploadpack and the like. A section's name follows its
# bracket at once (git's config.c, get_base_var).
_SECTIONS = re.compile(rb"\[(http|include)", re.IGNORECASE)


@dataclass(frozen=True)
class Programs:
    """Paths of git's; `git` is None where it does not lie beside the other one."""

    http_backend: str
    git: str | None


@dataclass(frozen=True)
class Command:
    """What is run, and where; `whole_body` is what it reads, None: the call's body as it comes."""

    arguments: tuple[str, ...]
    folder: str
    environment: Mapping[str, str]
    is_cgi: bool
    whole_body: bytes | None
    beginning: bytes = b""
    """What stands in the answer before all that is printed."""


def command_for(
    call: Call,
    programs: Programs,
    folder: str,
    variables: Mapping[str, str],
    configurations: Iterable[str],
) -> Command:
    """Return how git is called for the repository whose Git directory is `folder`.

    `variables` are the environment that http-backend needs, `configurations` the files that git reads
    its configuration from.
    """
    operation, content = call.operation, _content(call)
    is_left = _is_left_to_the_service(call, content) and _has_no_say(folder, configurations)
    if programs.git is None or not is_left:
        return Command((programs.http_backend,), "/", variables, True, call.whole_body)
    arguments = [programs.git, str(operation.service).removeprefix("git-"), "--stateless-rpc"]
    beginning = b""
    if operation.kind is Kind.ADVERTISEMENT:
        # As http-backend says before git 2.34; later ones take it for "--http-backend-info-refs".
        arguments.append("--advertise-refs")
        if protocol_version(protocol_of(call.headers)) < 2:
            beginning = service_announcement(operation)
    # As http-backend leaves it to the service, and so to hooks.
    variables = {**variables, "GIT_DIR": "."}
    return Command((*arguments, "."), folder, variables, False, content, beginning)


def service_announcement(operation: Operation) -> bytes:
    """Return what http-backend itself prints before an advertisement (gitprotocol-http)."""
    return pkt_line(f"# service={operation.service}\n".encode()) + b"0000"


def _content(call: Call) -> bytes | None:
    if call.whole_body is None:
        return None
    return whole_content(call.whole_body, call.headers.get("content-encoding", ""))


def _is_left_to_the_service(call: Call, content: bytes | None) -> bool:
    """Tell whether http-backend would do nothing but start the service, with what it reads."""
    operation = call.operation
    if operation.service not in _SERVICES or operation.method == "HEAD":
        return False
    if call.is_push:
        return "content-encoding" not in call.headers
    # It inflates those bodies, and holds them up to a limit of its own.
    return content is not None


def _has_no_say(folder: str, configurations: Iterable[str]) -> bool:
    """Tell whether http-backend would find nothing in the repository to refuse a request for.

    It serves none of another owner, which upload-pack may not look at (git 2.48), and it reads another
    configuration where there is a `commondir`.
    """
    try:
        is_own = Path(folder).stat().st_uid == os.geteuid()
        return (
            is_own
            and not Path(folder, "commondir").exists()
            and not any(map(_concerns_http_backend, configurations))
        )
    except OSError:
        return False


def _concerns_http_backend(configuration: str) -> bool:
    try:
        return bool(_SECTIONS.search(Path(configuration).read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return False
