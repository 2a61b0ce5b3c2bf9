"""The configuration: typed, loaded strictly, with every mistake named at once.

Three jobs apart: the models say what there is, `load` reads a file into them, and the functions
named `…_problems` find what is wrong between keys. What is accepted for a key stands in its model
and nowhere else.
"""

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    ValidationInfo,
)
from pydantic.fields import FieldInfo

from gitpat_proxy.access.lifetime import lifetime_of
from gitpat_proxy.access.model import Network
from gitpat_proxy.access.scopes import catalogue_problem

Location: TypeAlias = tuple[str | int, ...]
Finding: TypeAlias = tuple[Location, str]


@dataclass(frozen=True)
class Problem:
    """One mistake in a configuration file; `line` counts from 1."""

    file: Path
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key + ': ' if self.key else ''}{self.message}"


class ConfigError(Exception):
    """The configuration can't be used."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


# --- the models -------------------------------------------------------------------------------


def _accepts(accepted: str, **options: Any) -> Any:  # noqa: ANN401 - pydantic's own signature
    """Make a field that says, in an error, what is accepted."""
    return Field(json_schema_extra={"accepted": accepted}, **options)


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


def listen_address_of(text: object, base: Path) -> ListenAddress:
    """Read `host:port`, `[::1]:port` or `unix:PATH`; raise ValueError for anything else."""
    if isinstance(text, str) and text.startswith("unix:") and len(text) > len("unix:"):
        return ListenAddress(path=base / text.removeprefix("unix:"))
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", str(text))
    if not match or int(match[3]) > 65535:
        raise ValueError("no address to listen on")
    return ListenAddress(host=match[1] or match[2], port=int(match[3]))


def _read_listen(value: object, info: ValidationInfo) -> tuple[ListenAddress, ...]:
    texts = value if isinstance(value, list) else [value]
    if not texts:
        raise ValueError("an empty list listens nowhere")
    return tuple(listen_address_of(text, _base(info)) for text in texts)


def _read_path(value: Path, info: ValidationInfo) -> Path:
    return _base(info) / value.expanduser()


def _base(info: ValidationInfo) -> Path:
    """Return the folder that relative paths are relative to."""
    return Path(info.context or "")


def _read_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("no http:// or https:// address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("the address may have no credentials, query or fragment")
    return value.rstrip("/")


def _read_database(value: str, info: ValidationInfo) -> str:
    """Make SQLite's path absolute: relative ones are relative to the file."""
    kind, separator, path = value.partition(":///")
    if kind != "sqlite" or not separator or not path:
        raise ValueError("no address of a database")
    return f"sqlite:///{_read_path(Path(path), info)}"


def _read_route_path(value: str) -> str:
    segments = value.removeprefix("/").removesuffix("/").split("/")
    if not value.startswith("/") or ({"", ".", ".."} & set(segments) and value != "/"):
        raise ValueError("no URL prefix")
    if segments[0] == "-":
        raise ValueError("/-/ is the proxy's own")
    return "/" + "/".join(segments)


def _read_network(value: object) -> Network:
    if not isinstance(value, str):
        raise ValueError("no network")  # noqa: TRY004 - pydantic turns only this into an error
    return ip_network(value, strict=True)


ConfigPath = Annotated[Path, AfterValidator(_read_path)]
Url = Annotated[str, AfterValidator(_read_url)]
TrustedNetwork = Annotated[Network, BeforeValidator(_read_network)]
_PATH = "a path; a relative one is relative to this file"
_LIFETIME = "a duration as 90d or 12h, or never"


class Section(BaseModel):
    """What all parts of the configuration share: nothing unknown, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


class Tls(Section):
    """The proxy's own certificate, where nothing in front of it has one."""

    certificate: ConfigPath = _accepts(_PATH)
    key: ConfigPath = _accepts(_PATH)


class Route(Section):
    """A URL prefix and what serves the repositories below it."""

    path: Annotated[str, AfterValidator(_read_route_path)] = _accepts(
        "a URL prefix that begins with / and not with /-, as / or /legacy"
    )
    repositories: ConfigPath | None = _accepts(_PATH, default=None)
    dumb_protocol: StrictBool = _accepts("true or false", default=False)
    upstream: Url | None = _accepts("an http:// or https:// address", default=None)
    upstream_username: str | None = _accepts("a name without colon", default=None, pattern="^[^:]+$")
    upstream_password_file: ConfigPath | None = _accepts(_PATH, default=None)
    upstream_password_env: str | None = _accepts("the name of an environment variable", default=None)
    upstream_ca_file: ConfigPath | None = _accepts(_PATH, default=None)
    upstream_timeout_seconds: int = _accepts(
        "a whole number of seconds from 1 on", default=60, strict=True, ge=1
    )

    @cached_property
    def segments(self) -> tuple[str, ...]:
        return tuple(segment for segment in self.path.split("/") if segment)

    @property
    def upstream_password(self) -> str | None:
        """Read the password from where the configuration says; None if it names no place.

        Raises OSError or KeyError if it is not there.
        """
        if self.upstream_password_file:
            return self.upstream_password_file.read_text().rstrip("\r\n")
        if self.upstream_password_env:
            return os.environ[self.upstream_password_env]
        return None


class Tokens(Section):
    """How long tokens live."""

    default_lifetime: str = _accepts(_LIFETIME, default="90d")
    longest_lifetime: str = _accepts(_LIFETIME, default="365d")

    @cached_property
    def longest(self) -> timedelta | None:
        return lifetime_of(self.longest_lifetime)


class Limits(Section):
    """How much at once."""

    operations: int = _accepts("a whole number from 1 on", default=200, strict=True, ge=1)
    unknown_tokens: int = _accepts("a whole number from 1 on", default=30, strict=True, ge=1)


class Config(Section):
    """The whole file."""

    listen: Annotated[tuple[ListenAddress, ...], BeforeValidator(_read_listen)] = _accepts(
        "host:port, [::1]:port or unix:PATH, or a list of them",
        default=(ListenAddress("127.0.0.1", 8418),),
    )
    public_url: Url = _accepts("an http:// or https:// address", default="http://127.0.0.1:8418")
    database: Annotated[str, AfterValidator(_read_database)] = _accepts(
        "sqlite:///PATH", default="sqlite:///gitpat.db", validate_default=True
    )
    tls: Tls | None = _accepts("a certificate and a key", default=None)
    trusted_proxies: tuple[TrustedNetwork, ...] = _accepts(
        "a list of networks as 127.0.0.1/32", default=()
    )
    workers: Literal[1] = _accepts("1 (more processes come with a later version)", default=1)
    missing_scope_status: Literal[401, 403] = _accepts("401 or 403", default=401)
    scopes: dict[str, str] = _accepts("scope names with a description each", default={})
    routes: tuple[Route, ...] = _accepts("a list of routes, at least one", min_length=1)
    tokens: Tokens = _accepts("default_lifetime and longest_lifetime", default=Tokens())
    limits: Limits = _accepts("operations and unknown_tokens", default=Limits())


# --- what is wrong between keys ----------------------------------------------------------------


def config_problems(config: Config) -> list[Finding]:
    """Return what is wrong in a configuration whose keys are each right."""
    return [
        *_exposure_problems(config),
        *_scope_problems(config),
        *_lifetime_problems(config.tokens),
        *_duplicate_routes(config.routes),
        *(
            (("routes", index, *location), message)
            for index, route in enumerate(config.routes)
            for location, message in _route_problems(route)
        ),
        *_tls_problems(config.tls),
    ]


def _exposure_problems(config: Config) -> Iterator[Finding]:
    """A token must not cross a network in clear."""
    if config.tls or config.trusted_proxies:
        return
    for address in config.listen:
        if not address.is_local:
            yield (
                ("listen",),
                f"{address} is plain HTTP that others can reach: tokens would cross the network in "
                "clear; set tls, or name the TLS proxy in front in trusted_proxies, or listen on "
                "127.0.0.1",
            )


def _scope_problems(config: Config) -> Iterator[Finding]:
    for name, description in config.scopes.items():
        if problem := catalogue_problem(name):
            yield ("scopes", name), problem
        if not description.strip():
            yield ("scopes", name), "the description is empty; it is shown to people"


def _lifetime_problems(tokens: Tokens) -> Iterator[Finding]:
    lifetimes: dict[str, timedelta | None] = {}
    for key in ("default_lifetime", "longest_lifetime"):
        try:
            lifetimes[key] = lifetime_of(getattr(tokens, key))
        except ValueError as error:
            yield ("tokens", key), str(error)
    if len(lifetimes) == 2:
        default, longest = lifetimes["default_lifetime"], lifetimes["longest_lifetime"]
        if longest is not None and (default is None or default > longest):
            yield (
                ("tokens", "default_lifetime"),
                f"{tokens.default_lifetime} is longer than longest_lifetime ({tokens.longest_lifetime})",
            )


def _duplicate_routes(routes: Iterable[Route]) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, route in enumerate(routes):
        if route.path in seen:
            yield (
                ("routes", index, "path"),
                f"{route.path} is the path of routes[{seen[route.path]}] already",
            )
        seen.setdefault(route.path, index)


def _route_problems(route: Route) -> Iterator[Finding]:
    if (route.repositories is None) == (route.upstream is None):
        yield (), "needs one of repositories (a folder) and upstream (an address), and not both"
    if route.repositories and not route.repositories.is_dir():
        yield ("repositories",), f"{route.repositories} is not a folder"
    yield from _upstream_problems(route)


def _upstream_problems(route: Route) -> Iterator[Finding]:
    upstream_keys = [
        key for key in route.model_fields_set if key.startswith("upstream_") and getattr(route, key)
    ]
    if not route.upstream:
        for key in sorted(upstream_keys):
            yield (key,), "has no effect without upstream"
        return
    passwords = [key for key in upstream_keys if key.startswith("upstream_password")]
    if len(passwords) > 1:
        yield ("upstream_password_env",), "give this or upstream_password_file, not both"
    if passwords and not route.upstream_username:
        yield (passwords[0],), "needs upstream_username beside it"
    if route.upstream_username and not passwords:
        yield (
            ("upstream_username",),
            "needs upstream_password_file or upstream_password_env beside it",
        )
    if len(passwords) == 1:
        yield from _password_problems(route, passwords[0])
    if route.upstream_ca_file:
        yield from _file_problems("upstream_ca_file", route.upstream_ca_file)


def _password_problems(route: Route, key: str) -> Iterator[Finding]:
    try:
        if not route.upstream_password:
            yield (key,), "the password there is empty"
    except KeyError as error:
        yield (key,), f"there is no environment variable {error.args[0]}"
    except (OSError, UnicodeError) as error:
        yield (key,), f"can't be read: {error}"


def _tls_problems(tls: Tls | None) -> Iterator[Finding]:
    for key in ("certificate", "key") if tls else ():
        for location, message in _file_problems(key, getattr(tls, key)):
            yield ("tls", *location), message


def _file_problems(key: str, path: Path) -> Iterator[Finding]:
    try:
        path.open("rb").close()
    except OSError as error:
        yield (key,), f"can't be read: {error}"


# --- the loader --------------------------------------------------------------------------------


def load(file: Path) -> Config:
    """Read a configuration file; raise ConfigError with all its problems."""
    try:
        text = file.read_text()
    except (OSError, UnicodeError) as error:
        raise ConfigError([Problem(file, 1, "", f"can't be read: {error}")]) from None
    try:
        document = _Document(text)
    except yaml.YAMLError as error:
        raise ConfigError([_yaml_problem(file, error)]) from None
    config, findings = _validate(document.data, file.parent.absolute())
    problems = [
        Problem(file, document.line_of(location), _key(location), message)
        for location, message in [*document.findings, *findings]
    ]
    if problems or config is None:
        raise ConfigError(sorted(problems, key=lambda problem: problem.line))
    return config


def _validate(data: object, base: Path) -> tuple[Config | None, list[Finding]]:
    """Validate; where keys are wrong, look between the others as well, so that all is said at once."""
    if not isinstance(data, dict):
        return None, [((), "the file must hold keys, as config.example.yaml does")]
    try:
        config = Config.model_validate(data, context=base)
    except ValidationError as error:
        locations = [details["loc"] for details in error.errors()]
        wrong = [_finding(details["loc"], details["type"], details["msg"]) for details in error.errors()]
        return None, wrong + _other_problems(_repaired(data, locations), base, locations)
    return config, config_problems(config)


def _other_problems(data: object, base: Path, wrong: list[Location]) -> list[Finding]:
    """Look between the keys of a repaired configuration, wherever nothing was repaired."""
    try:
        findings = config_problems(Config.model_validate(data, context=base))
    except ValidationError:
        return []
    return [
        (location, message)
        for location, message in findings
        if not any(location == w[: len(location)] or location[: len(w)] == w for w in wrong)
    ]


# What stands in for a required key that is wrong, so that the others can be looked at.
_STAND_INS: dict[str | int, object] = {
    "routes": [{"path": "/wrong"}],
    "path": "/wrong",
    "certificate": ".",
    "key": ".",
}


def _repaired(data: object, locations: Iterable[Location]) -> object:
    """Return a copy in which what is wrong at `locations` is left out, or stood in for."""
    here = {location[0] for location in locations if len(location) == 1}
    below = [location for location in locations if len(location) > 1]

    def copy(key: str | int, value: object) -> object:
        inner = [location[1:] for location in below if location[0] == key]
        return _repaired(value, inner) if inner else value

    if isinstance(data, dict):
        kept = {key: copy(key, value) for key, value in data.items() if key not in here}
        return kept | {key: _STAND_INS[key] for key in here & _STAND_INS.keys()}
    if isinstance(data, list):
        return [copy(index, item) for index, item in enumerate(data) if index not in here]
    return data


def _finding(location: Location, kind: str, message: str) -> Finding:
    """Turn an error of pydantic's into a sentence that says what is accepted."""
    location = tuple(part for part in location if part not in _TYPE_MARKS)
    section, field = _field_at(location)
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(str(location[-1]), section.model_fields, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return location, f"unknown key; {hint}accepted here: {', '.join(section.model_fields)}"
    accepted = field.json_schema_extra["accepted"] if field else "keys and values"  # type: ignore[index]
    if kind == "missing":
        return location, f"required and not there; accepted: {accepted}"
    words = message.removeprefix("Value error, ").removeprefix("Input ")
    return location, f"{words}; accepted: {accepted}"


# What pydantic puts into a location for the member of a union.
_TYPE_MARKS = {"function-after[_read_path(), path]", "function-after[_read_url(), str]"}


def _field_at(location: Location) -> tuple[type[Section], FieldInfo | None]:
    """Return the innermost section and field that a location leads to."""
    section: type[Section] = Config
    field: FieldInfo | None = None
    inner: dict[str, type[Section]] = {
        "routes": Route,
        "tls": Tls,
        "tokens": Tokens,
        "limits": Limits,
    }
    for part in location:
        if part in section.model_fields:
            field = section.model_fields[str(part)]
            section = inner.get(str(part), section)
    return section, field


def _key(location: Location) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def _yaml_problem(file: Path, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or "unreadable"
    return Problem(file, mark.line + 1 if mark else 1, "", f"no valid YAML: {what}")


class _Document:
    """A YAML document that knows the line of every key; a key given twice is a finding."""

    def __init__(self, text: str) -> None:
        self.findings: list[Finding] = []
        self._lines: dict[Location, int] = {(): 1}
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                self._walk(node, ())
            self.data: object = loader.construct_document(node) if node is not None else {}
        finally:
            loader.dispose()

    def line_of(self, location: Location) -> int:
        """Return the line of the key, or of the nearest one around it that is in the file."""
        while location not in self._lines:
            location = location[:-1]
        return self._lines[location]

    def _walk(self, node: yaml.Node, location: Location) -> None:
        self._lines.setdefault(location, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._walk(item, (*location, index))
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._walk_entry(key, value, (*location, str(key.value)))

    def _walk_entry(self, key: yaml.Node, value: yaml.Node, location: Location) -> None:
        line = key.start_mark.line + 1
        if location in self._lines:
            self.findings.append((location, f"given again on line {line}; give it once"))
        self._lines.setdefault(location, line)
        self._walk(value, location)
