"""How the values of single keys are read: each function takes what YAML gave, or raises ValueError."""

import grp
import os
import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from gitpat_proxy.access.lifetime import lifetime_of
from gitpat_proxy.access.model import Network
from gitpat_proxy.access.names import is_account_name
from gitpat_proxy.access.patterns import RepositoryPatterns
from gitpat_proxy.access.refs import RefRule, ref_rule_of
from gitpat_proxy.access.scopes import catalogue_problem


@dataclass(frozen=True)
class ListenAddress:
    """Where to listen: `host` and `port`, or the `path` of a Unix socket."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    @property
    def is_local(self) -> bool:
        """Nothing but this machine reaches it."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_LONGEST_SOCKET_PATH = 107


def listen_address_of(text: object, base: Path) -> ListenAddress:
    """Read `host:port`, `[::1]:port` or `unix:PATH`; raise ValueError for anything else."""
    if isinstance(text, str) and text.startswith("unix:") and len(text) > len("unix:"):
        return ListenAddress(path=_socket_path(base / text.removeprefix("unix:")))
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", str(text))
    if not match or int(match[3]) > 65535:
        raise ValueError("no address to listen on")
    return ListenAddress(host=match[1] or match[2], port=int(match[3]))


def _socket_path(path: Path) -> Path:
    """Return a path that a socket may have (unix(7)); raises ValueError for another one."""
    name = os.fsencode(path)
    if b"\0" in name or len(name) > _LONGEST_SOCKET_PATH:
        raise ValueError(f"no path of a socket, which has {_LONGEST_SOCKET_PATH} bytes at most")
    return path


def read_listen(value: object, info: ValidationInfo) -> tuple[ListenAddress, ...]:
    """Read one address or a list of them."""
    texts = value if isinstance(value, list) else [value]
    if not texts:
        raise ValueError("an empty list listens nowhere")
    return tuple(listen_address_of(text, _base(info)) for text in texts)


def _read_path(value: Path, info: ValidationInfo) -> Path:
    try:
        if b"\0" not in os.fsencode(value):
            return _base(info) / value.expanduser()
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    except UnicodeError:
        pass
    raise ValueError("no path")


def _base(info: ValidationInfo) -> Path:
    """Return the folder that relative paths are relative to."""
    return Path(info.context or "")


def _read_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("no http:// or https:// address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("the address may have no credentials, query or fragment")
    if not value.isprintable() or " " in value:
        raise ValueError("the address may have no spaces and no control characters")
    if parts.port == 0:
        raise ValueError("0 is no port")
    return value.rstrip("/")


def read_database(value: str, info: ValidationInfo) -> str:
    """Make SQLite's path absolute: relative ones are relative to the file."""
    kind, separator, path = value.partition(":///")
    if kind != "sqlite" or not separator or not path:
        raise ValueError("no address of a database")
    return f"sqlite:///{_read_path(Path(path), info)}"


def read_route_path(value: str) -> str:
    """Return the prefix with a slash before it and none behind."""
    segments = value.removeprefix("/").removesuffix("/").split("/")
    if not value.startswith("/") or ({"", ".", ".."} & set(segments) and value != "/"):
        raise ValueError("no URL prefix")
    if segments[0] == "-":
        raise ValueError("/-/ is the proxy's own")
    return "/" + "/".join(segments)


def _read_network(value: object) -> Network:
    if not isinstance(value, str):
        raise ValueError("no network")  # noqa: TRY004 - pydantic turns only this into an error
    network = ip_network(value, strict=True)
    if network.prefixlen == 0:
        raise ValueError("that would trust everybody")
    return network


def _folder(path: Path) -> Path:
    # Path.is_dir raises for a name that is too long, or lies in a folder that is closed to us.
    if not os.path.isdir(path):  # noqa: PTH112 - see above
        raise ValueError(f"{path} is not a folder that this user can see; make it, or name another one")
    return path


def _readable(path: Path) -> Path:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    return path


def _holds_secret(path: Path) -> Path:
    try:
        if not path.read_text(encoding="utf-8").strip("\r\n"):
            raise ValueError(f"{path} is empty")
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeError:
        raise ValueError(f"{path} can't be read: it is no text in UTF-8") from None
    return path


def _variable(name: str) -> str:
    if not os.environ.get(name):
        raise ValueError(f"there is no environment variable {name}, or it is empty")
    return name


def _lifetime(text: str) -> str:
    try:
        lifetime_of(text)
    except ValueError:
        raise ValueError("no lifetime") from None
    return text


_UNITS = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def _size(value: object) -> int:
    """Return bytes; a size is a whole number of them, or one with a unit."""
    match = re.fullmatch(r"([0-9]{1,18}) ?(KiB|MiB|GiB|)", str(value))
    if isinstance(value, bool) or not match or not int(match[1]):
        raise ValueError("no size")
    return int(match[1]) * _UNITS[match[2]]


def _space(value: object) -> int:
    """Return bytes as `_size` does, or 0."""
    return 0 if value == 0 and not isinstance(value, bool) else _size(value)


def size_text(size: int) -> str:
    """Write a size of so many bytes with the largest unit that leaves a whole number."""
    unit, factor = next(pair for pair in reversed(_UNITS.items()) if size % pair[1] == 0)
    return f"{size // factor} {unit or 'bytes'}"


def _mode(value: object) -> int:
    """Return a file's mode. YAML reads 0660 as a number in octal, and "660" as text."""
    text = value if isinstance(value, str) else oct(value)[2:] if isinstance(value, int) else ""
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError("no mode")
    return int(text, 8)


def _group(name: str) -> str:
    try:
        grp.getgrnam(name)
    except KeyError:
        raise ValueError(f"this machine has no group {name}") from None
    return name


def _scope_name(name: str) -> str:
    if problem := catalogue_problem(name):
        raise ValueError(problem)
    return name


def _description(text: str) -> str:
    if not text.strip():
        raise ValueError("the description is empty; it is shown to people")
    return text


def _header_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise ValueError("no header's name")
    if name.lower() in {"authorization", "cookie", "host"}:
        raise ValueError("every browser sends that one itself")
    return name


def _group_name(name: str) -> str:
    if not is_account_name(name):
        raise ValueError(f"{name!r} can't be the name of a group")
    return name


def _accounts(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts:
        raise ValueError("an empty list names nobody")
    for text in texts:
        if not is_account_name(text.replace("*", "x")) or "**" in text:
            raise ValueError(f"{text!r} can't be the name of an account")
    return texts


def _given(value: object) -> object:
    """A key whose value has been commented out must not open what it was there to limit."""
    if value is None:
        raise ValueError("nothing is given; leave the key out where nothing is to be limited")
    return value


def _repositories(texts: tuple[str, ...]) -> tuple[str, ...]:
    return RepositoryPatterns(texts).texts


def _ref_rules(value: object) -> tuple[RefRule, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("no list of rules for refs")
    if not value:
        raise ValueError("an empty list lets nobody push; leave refs out where every ref may be changed")
    return tuple(map(ref_rule_of, value))


Given = BeforeValidator(_given)
Size = Annotated[int, BeforeValidator(_size)]
Space = Annotated[int, BeforeValidator(_space)]
Mode = Annotated[int, BeforeValidator(_mode)]
Group = Annotated[str, AfterValidator(_group)]
PlainPath = Annotated[Path, AfterValidator(_read_path)]
Folder = Annotated[Path, AfterValidator(_read_path), AfterValidator(_folder)]
ReadableFile = Annotated[Path, AfterValidator(_read_path), AfterValidator(_readable)]
SecretFile = Annotated[Path, AfterValidator(_read_path), AfterValidator(_holds_secret)]
SecretVariable = Annotated[str, AfterValidator(_variable)]
Url = Annotated[str, AfterValidator(_read_url)]
TrustedNetwork = Annotated[Network, BeforeValidator(_read_network)]
Lifetime = Annotated[str, AfterValidator(_lifetime)]
GroupName = Annotated[str, AfterValidator(_group_name)]
AccountPatterns = Annotated[tuple[str, ...], AfterValidator(_accounts)]
RepositoryTexts = Annotated[tuple[str, ...], AfterValidator(_repositories)]
RefRules = Annotated[tuple[RefRule, ...], BeforeValidator(_ref_rules)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
ScopeName = Annotated[str, AfterValidator(_scope_name)]
Description = Annotated[str, AfterValidator(_description)]
