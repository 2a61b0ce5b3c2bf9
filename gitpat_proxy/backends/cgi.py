"""CGI as `git http-backend` speaks it: its environment and its answer's head (RFC 3875), pure."""

import re
from collections.abc import Mapping

from gitpat_proxy.backends.base import Call

LONGEST_HEAD = 64 * 1024
_INHERITED = re.compile(r"PATH|LANG|LC_[A-Z]+")
_GIT_PROTOCOL = re.compile(r"[A-Za-z0-9=:._-]{1,255}")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\x20-\x7e\t]*)")
_STATUS = re.compile(r"([1-5][0-9]{2})( .*)?")

# For this one push, and stricter only than the repository's own configuration. Without replacements:
# one pushed before (refs/replace/) could make any commit look as if it followed another.
_ONLY_FORWARD = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "receive.denyNonFastForwards",
    "GIT_CONFIG_VALUE_0": "true",
    "GIT_NO_REPLACE_OBJECTS": "1",
}


class CgiHeadError(ValueError):
    """What the program printed is no head of a CGI answer."""


def environment(
    call: Call, root: str, repository: str, mail_domain: str, inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the whole environment of git for a call: hooks see it all, so it is built from nothing.

    `repository` is the Git directory below `root`. Of `inherited` only the search path and the
    locale are taken. CONTENT_LENGTH is never set: git would wait for ever for bytes that a client
    did not send.
    """
    operation = call.operation
    variables = inherited_variables(inherited) | {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_METHOD": operation.method,
        "QUERY_STRING": operation.query,
        "CONTENT_TYPE": operation.request_type or "",
        "PATH_INFO": f"/{repository}/{operation.endpoint}",
        "GIT_PROJECT_ROOT": root,
        "GIT_HTTP_EXPORT_ALL": "1",
        "REMOTE_ADDR": call.address,
        "REMOTE_USER": call.account,
        "GIT_COMMITTER_NAME": call.account,
        "GIT_COMMITTER_EMAIL": call.account if "@" in call.account else f"{call.account}@{mail_domain}",
        "GITPAT_ACCOUNT": call.account,
        "GITPAT_TOKEN_ID": call.token_id,
    }
    if call.headers.get("content-encoding"):
        variables["HTTP_CONTENT_ENCODING"] = call.headers["content-encoding"]
    if call.only_forward:
        variables |= _ONLY_FORWARD
    if protocol := protocol_of(call.headers):
        variables["GIT_PROTOCOL"] = protocol
    return variables


def protocol_of(headers: Mapping[str, str]) -> str:
    """Return what git is told of the protocol that the client asks for."""
    protocol = headers.get("git-protocol", "")
    return protocol if _GIT_PROTOCOL.fullmatch(protocol) else ""


def inherited_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return those of the proxy's own environment that git may have."""
    return {name: value for name, value in variables.items() if _INHERITED.fullmatch(name)}


def split_head(output: bytes) -> tuple[bytes, bytes] | None:
    """Split what was printed so far into the head and what follows; None if the head goes on.

    Raises CgiHeadError if it has grown too long.
    """
    match = re.search(rb"\r?\n\r?\n", output)
    if match:
        return output[: match.start()], output[match.end() :]
    if len(output) > LONGEST_HEAD:
        raise CgiHeadError("its head does not end")
    return None


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Return status and headers (RFC 3875, section 6.3); of a name that comes twice the last.

    Raises CgiHeadError if a line is no header.
    """
    headers: dict[str, str] = {}
    for line in head.splitlines():
        match = _HEADER.fullmatch(line)
        if not match:
            raise CgiHeadError("a line of its head is no header")
        name, value = match[1].decode("ascii"), match[2].decode("ascii").strip()
        headers[name.title()] = value
    status = _STATUS.fullmatch(headers.pop("Status", "200 OK"))
    if not status:
        raise CgiHeadError("its status is none")
    return int(status[1]), headers
