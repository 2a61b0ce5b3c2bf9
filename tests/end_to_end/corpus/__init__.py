"""The corpus of raw requests, as bytes. README.md tells how its files are written."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent
FAMILIES = sorted(path.stem for path in _FOLDER.glob("*.txt"))

_GET = "GET {R}/app/info/refs?service=git-upload-pack HTTP/1.1\\r\\nHost: localhost"
_SMUGGLED = "GET {R}/smuggled/info/refs?service=git-upload-pack HTTP/1.1\\r\\nHost: localhost\\r\\n"
_MACROS = {
    "get": f"{_GET}\\r\\nAuthorization: {{good}}",
    "ask": f"{_GET}\\r\\n\\r\\n",
    "smuggled": f"{_SMUGGLED}Authorization: {{good}}\\r\\n\\r\\n",
    "post": (
        "POST {R}/app/git-upload-pack HTTP/1.1\\r\\nHost: localhost\\r\\nAuthorization: {good}\\r\\n"
        "Content-Type: application/x-git-upload-pack-request"
    ),
    "push": (
        "POST {R}/app/git-receive-pack HTTP/1.1\\r\\nHost: localhost\\r\\nAuthorization: {good}\\r\\n"
        "Content-Type: application/x-git-receive-pack-request"
    ),
    "api": (
        "POST /-/api/v1/tokens HTTP/1.1\\r\\nHost: localhost\\r\\nAuthorization: {api token}\\r\\n"
        "Content-Type: application/json"
    ),
    "form": (
        "POST /-/sign-in HTTP/1.1\\r\\nHost: localhost\\r\\n"
        "Content-Type: application/x-www-form-urlencoded"
    ),
}
_REPEATED = re.compile(r"\{(\{|[^{}]+)\*(\d+)\}")
_LENGTH = re.compile(r"\{smuggled#(x|\d*)\}")
_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|(.))", re.DOTALL)
_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


@dataclass(frozen=True)
class Case:
    """What is sent, and what is to come: statuses, or a word, for each way that it takes."""

    name: str
    text: str
    expected: str
    otherwise: Mapping[str, str]

    @property
    def is_routed(self) -> bool:
        """Tell whether it asks for a repository, below either route."""
        return bool(re.search(r"\{(R|get|ask|smuggled|post|push)[}#*]", self.text))

    def expectation(self, *, upstream: bool, nginx: bool) -> str:
        """Return what is to come: behind nginx a refusal may be nginx's own, or none at all."""
        if nginx and "nginx" in self.otherwise:
            return self.otherwise["nginx"]
        expected = self.otherwise.get("upstream", self.expected) if upstream else self.expected
        return "refused" if nginx and _REFUSED.fullmatch(expected) else expected

    def pieces(self, names: Mapping[str, str]) -> list[bytes]:
        """Return the bytes, parted where a pause is to be; `names` fill what differs between runs."""
        text = _REPEATED.sub(lambda m: _MACROS.get(m[1], m[1]) * int(m[2]), self.text)
        text = _LENGTH.sub(lambda m: _length(m[1], names), text)
        return [_unescaped(_filled(piece, names)) for piece in text.split("{pause}")]


_REFUSED = re.compile(r"(4\d\d ?)+|refused")


def cases(family: str) -> list[Case]:
    """Return the cases of one file."""
    return list(_cases((_FOLDER / f"{family}.txt").read_text().split("\n\n")))


def _cases(paragraphs: list[str]) -> Iterator[Case]:
    for paragraph in paragraphs:
        title, *lines = paragraph.rstrip("\n").split("\n")
        if title.startswith("#"):
            continue
        name, _, expected = title.rpartition(": ")
        first, *others = expected.split(" | ")
        otherwise = dict(other.split(" ", 1) for other in others)
        yield Case(name, "".join(_sent(line) for line in lines), first, otherwise)


def _sent(line: str) -> str:
    """Return what a line stands for: with a line's end, unless it ends with a backslash."""
    if not line.startswith(">"):
        raise ValueError(f"a line of a case begins with >: {line!r}")
    text = line[2:]
    return text[:-1] if text.endswith("\\") else text + "\\r\\n"


def _length(added: str, names: Mapping[str, str]) -> str:
    length = len(_unescaped(_filled(_MACROS["smuggled"], names)))
    return f"{length:x}" if added == "x" else str(length + int(added or 0))


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name, value in [*_MACROS.items(), *names.items()]:
        text = text.replace(f"{{{name}}}", value)
    return text


def _unescaped(text: str) -> bytes:
    return _ESCAPE.sub(
        lambda m: bytes.fromhex(m[1].decode()) if m[1] else _ESCAPES[m[2]], text.encode("ascii")
    )
