"""What a backend is: where a permitted operation goes."""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from gitpat_proxy.access.push import RefProblem
from gitpat_proxy.git.operation import Operation, Service


class BodyCutError(Exception):
    """The request's body ended before it was complete: the client is gone, or too slow."""


class AnswerCutError(Exception):
    """The backend stopped in the middle of its answer: the client must notice."""


@dataclass(frozen=True)
class Asked:
    """What a permitted operation asks for. `path` is the repository's address below the route.

    `headers` are the client's, by lower-case name; `whole_body` is all of the body if it has arrived
    already.
    """

    operation: Operation
    path: tuple[str, ...]
    headers: Mapping[str, str]
    whole_body: bytes | None


@dataclass(frozen=True)
class Call(Asked):
    """A permitted operation, with all that a backend needs for it.

    `headers` are only those in FORWARDED_REQUEST_HEADERS. `body` raises BodyCutError where the client
    is gone. `only_forward`: a branch may be updated to what follows it, and to nothing else.
    """

    body: AsyncIterator[bytes]
    account: str
    token_id: str
    address: str
    request_id: str
    only_forward: bool = False

    @property
    def is_push(self) -> bool:
        return self.operation.service is Service.RECEIVE_PACK


@dataclass(frozen=True)
class FilePart:
    """A part of an answer that lies in a file, which stays open until the next one is asked for."""

    descriptor: int
    offset: int
    size: int

    def __len__(self) -> int:
        return self.size

    def read(self) -> bytes:
        """Return it as bytes."""
        return os.pread(self.descriptor, self.size, self.offset)

    def split(self, size: int) -> Iterator["FilePart"]:
        """Yield it in parts of so many bytes, but for the last."""
        for start in range(0, self.size, size):
            yield FilePart(self.descriptor, self.offset + start, min(size, self.size - start))


Piece: TypeAlias = bytes | FilePart


def bytes_of(piece: Piece) -> bytes:
    """Return a piece's bytes, wherever they lie."""
    return piece.read() if isinstance(piece, FilePart) else piece


@dataclass(frozen=True)
class Answer:
    """An answer with status 200; `body` raises AnswerCutError if it can't be completed."""

    headers: Mapping[str, str]
    body: AsyncIterator[Piece]


@dataclass(frozen=True)
class WholeAnswer:
    """A short answer with status 200 that is there already."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Finding:
    """One line of `check`."""

    part: str
    ok: bool
    detail: str


class Backend(Protocol):
    """Serves the repositories below a route."""

    def at_hand(self, asked: Asked) -> Callable[[], WholeAnswer | None]:
        """Return what tells, whenever it is called, the answer that `serve` would give then.

        None: it is not there already.
        """

    def kept(self, call: Call) -> AbstractAsyncContextManager[Answer] | None:
        """Return the answer that `serve` would give if all of it is there already: it costs no process.

        None: it is not.
        """

    def serve(self, call: Call, on_taken: Callable[[], None]) -> AbstractAsyncContextManager[Answer]:
        """Begin the operation; raise RefusedError on entering. Leaving the context ends what
        was not read to its end, except a push that the backend has received: its body must be read.

        `on_taken` is called once the backend has given all of its answer: what is left to do costs
        no process.
        """

    def ref_problem(self, path: tuple[str, ...]) -> RefProblem:
        """Return what tells of the refs of a repository whether rules can hold for them."""

    async def check(self) -> Finding:
        """Try whether the backend can serve, with what is there."""

    async def close(self) -> None:
        """End what is left."""


FORWARDED_REQUEST_HEADERS = frozenset(
    {
        "accept",
        "accept-language",
        "content-encoding",
        "content-length",
        "content-type",
        "git-protocol",
        "user-agent",
    }
)

# What a token opened no shared cache may keep: the backend's word on that is not passed on.
_FORWARDED_ANSWER_HEADERS = frozenset({"content-encoding", "content-length", "content-type"})


def answer_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of a backend's headers that concern the client."""
    return {name: value for name, value in headers.items() if name.lower() in _FORWARDED_ANSWER_HEADERS}


def content_type_of(headers: Mapping[str, str]) -> str:
    """Return the media type without its parameters; "" if there is none."""
    values = [value for name, value in headers.items() if name.lower() == "content-type"]
    return values[0].partition(";")[0].strip().lower() if values else ""
