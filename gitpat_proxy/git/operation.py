"""What one request asks for in Git's words, read from its method, path and query alone."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import parse_qsl, unquote_to_bytes


class Service(StrEnum):
    """Git's services over HTTP (gitprotocol-http, "Smart Clients")."""

    UPLOAD_PACK = "git-upload-pack"
    RECEIVE_PACK = "git-receive-pack"
    UPLOAD_ARCHIVE = "git-upload-archive"


class Kind(StrEnum):
    """The three ways in which a Git client asks."""

    ADVERTISEMENT = "advertisement"
    RPC = "rpc"
    DUMB = "dumb"


SCOPE_OF_SERVICE = {
    Service.UPLOAD_PACK: "code:read",
    Service.RECEIVE_PACK: "code:write",
    Service.UPLOAD_ARCHIVE: "code:read",
}
SCOPE_OF_DUMB = "code:read"


class NotGitError(ValueError):
    """The address is none that Git uses."""


class MethodNotAllowedError(ValueError):
    """Git uses the address, but with the method in `allowed`."""

    def __init__(self, allowed: str) -> None:
        super().__init__(allowed)
        self.allowed = allowed


@dataclass(frozen=True)
class Operation:
    """A service on one repository, and the scope that it needs.

    `path` is the repository's address as asked for, in decoded segments; `repository` its canonical
    name; `endpoint` what follows the repository's address; `service` is None for the dumb protocol.
    """

    kind: Kind
    service: Service | None
    path: tuple[str, ...]
    endpoint: str

    @property
    def repository(self) -> str:
        """The one name of `repo` and `repo.git`, for policy, audit and log."""
        return repository_name(self.path)

    @property
    def scope(self) -> str:
        return SCOPE_OF_SERVICE[self.service] if self.service else SCOPE_OF_DUMB

    @property
    def method(self) -> str:
        return "POST" if self.kind is Kind.RPC else "GET"

    @property
    def query(self) -> str:
        """The query string, made from what was understood and not from what was sent."""
        return f"service={self.service}" if self.kind is Kind.ADVERTISEMENT else ""

    @property
    def request_type(self) -> str | None:
        """The only Content-Type that the body may have; None where there is no body."""
        return f"application/x-{self.service}-request" if self.kind is Kind.RPC else None

    @property
    def answer_type(self) -> str | None:
        """The Content-Type of a Git server's answer; None where the dumb protocol leaves it open."""
        return {
            Kind.ADVERTISEMENT: f"application/x-{self.service}-advertisement",
            Kind.RPC: f"application/x-{self.service}-result",
            Kind.DUMB: None,
        }[self.kind]


_HASH_REST = "(?:[0-9a-f]{38}|[0-9a-f]{62})"
_HASH = "(?:[0-9a-f]{40}|[0-9a-f]{64})"

# After git's http-backend.c, `services[]`, anchored at both ends.
_ENDPOINTS = [
    (method, re.compile(f"(?P<repository>.+)/(?P<endpoint>{pattern})", re.DOTALL), kind)
    for method, pattern, kind in [
        ("GET", "info/refs", Kind.ADVERTISEMENT),
        ("POST", "|".join(Service), Kind.RPC),
        ("GET", "HEAD", Kind.DUMB),
        ("GET", "objects/info/(?:http-)?alternates", Kind.DUMB),
        ("GET", "objects/info/packs", Kind.DUMB),
        ("GET", f"objects/[0-9a-f]{{2}}/{_HASH_REST}", Kind.DUMB),
        ("GET", rf"objects/pack/pack-{_HASH}\.(?:pack|idx)", Kind.DUMB),
    ]
]


def repository_name(path: tuple[str, ...]) -> str:
    """Return the name of the repository at a path, the same with and without `.git`."""
    return "/".join(path).removesuffix(".git")


def typed_repository(text: str | None) -> str | None:
    """Return the name of the repository that somebody typed, with slashes around it or not."""
    return repository_name(tuple((text or "").strip("/ ").split("/"))) or None


@lru_cache(maxsize=512)
def operation_of(method: str, raw_path: str, raw_query: str) -> Operation:
    """Read a request's method, percent-encoded path and query string.

    Raises NotGitError where Git uses no such address, MethodNotAllowedError where it uses another
    method there. Nothing is looked up: the answer depends on these three alone, and is remembered.
    """
    path = "/".join(_segments(raw_path))
    allowed, match, kind = _endpoint_of(path)
    if method != allowed:
        raise MethodNotAllowedError(allowed)
    endpoint, repository = match["endpoint"], tuple(match["repository"].split("/"))
    _check_repository(repository)
    service = Service(endpoint) if kind is Kind.RPC else None
    if kind is Kind.ADVERTISEMENT:
        service = _requested_service(raw_query)
        kind = Kind.ADVERTISEMENT if service else Kind.DUMB
    return Operation(kind, service, repository, endpoint)


def _endpoint_of(path: str) -> tuple[str, re.Match[str], Kind]:
    for method, pattern, kind in _ENDPOINTS:
        if match := pattern.fullmatch(path):
            return method, match, kind
    raise NotGitError


def _segments(raw_path: str) -> list[str]:
    """Each segment decoded once; whatever a file system or a second decoder could take for another
    path is refused.
    """
    if not raw_path.startswith("/"):
        raise NotGitError
    try:
        segments = [unquote_to_bytes(raw).decode() for raw in raw_path[1:].split("/")]
    except UnicodeError:
        raise NotGitError from None
    if any(segment in {"", ".", ".."} or _UNSAFE.search(segment) for segment in segments):
        raise NotGitError
    return segments


_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]")


def _check_repository(path: tuple[str, ...]) -> None:
    """`/-/` is the proxy's own; `.git` ends no name: it would be an alias, or lead inside."""
    last = path[-1].removesuffix(".git")
    if path[0] == "-" or ".git" in path or last in {".", ".."} or last.endswith(".git"):
        raise NotGitError


def _requested_service(raw_query: str) -> Service | None:
    """The service of an advertisement; None without one, which is the dumb protocol.

    A second `service` is refused: git's http-backend would take the last, others the first.
    """
    names = [value for key, value in parse_qsl(raw_query, keep_blank_values=True) if key == "service"]
    if not names:
        return None
    if len(names) > 1 or names[0] not in set(Service):
        raise NotGitError
    return Service(names[0])


def protocol_version(git_protocol: str) -> int:
    """Return what the client asks for (gitprotocol-v2, "HTTP Transport"); 0 if it does not say."""
    words = git_protocol.split(":")
    versions = [word[-1] for word in words if word in {"version=1", "version=2"}]
    return max(map(int, versions), default=0)
