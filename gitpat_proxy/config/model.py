"""The configuration's keys: what there is, what it is by default, and what is accepted."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictBool,
)

from gitpat_proxy.access.patterns import RepositoryPatterns
from gitpat_proxy.access.rules import AccessRule, AccessRules
from gitpat_proxy.config.values import (
    AccountPatterns,
    Description,
    Folder,
    Given,
    Group,
    GroupName,
    HeaderName,
    Lifetime,
    ListenAddress,
    Mode,
    PlainPath,
    ReadableFile,
    RefRules,
    RepositoryTexts,
    ScopeName,
    SecretFile,
    SecretVariable,
    Size,
    Space,
    TrustedNetwork,
    Url,
    read_database,
    read_listen,
    read_route_path,
)

_RELATIVE = "; a relative path is relative to this file"
_FILE = f"a file that can be read{_RELATIVE}"
_LIFETIME = "a duration as 90d or 12h, or never"
_ACCOUNTS = "a list of accounts as alice, globs of them as svc-*"
_GROUPS = "names of groups, each with a list of accounts as alice, or globs of them as svc-*"
_RULES = "a list of rules with who, repositories, allow and refs"


def _accepts(accepted: str, **options: Any) -> Any:  # noqa: ANN401 - pydantic's own signature
    """Make a field that says, in an error, what is accepted."""
    return Field(json_schema_extra={"accepted": accepted}, **options)


def _number(default: int) -> Any:  # noqa: ANN401 - as _accepts
    return _accepts("a whole number from 1 on", default=default, strict=True, ge=1)


def _size(default: str) -> Any:  # noqa: ANN401 - as _accepts
    return _accepts("a size as 512MiB or 2GiB", default=default, validate_default=True)


class Section(BaseModel):
    """What all parts of the configuration share: nothing unknown, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


class Tls(Section):
    """The proxy's own certificate, where nothing in front of it has one."""

    certificate: ReadableFile = _accepts(_FILE)
    key: ReadableFile = _accepts(_FILE)


class SocketFile(Section):
    """Who may open the Unix sockets of `listen`; what is not set is as the process has it."""

    mode: Mode | None = _accepts('a file\'s mode as "660"', default=None)
    group: Group | None = _accepts("the name of a group", default=None)


class RouteConfig(Section):
    """A URL prefix and what serves the repositories below it."""

    path: Annotated[str, AfterValidator(read_route_path)] = _accepts(
        "a URL prefix that begins with / and not with /-, as / or /legacy"
    )
    repositories: Folder | None = _accepts(f"a folder{_RELATIVE}", default=None)
    dumb_protocol: StrictBool = _accepts("true or false", default=False)
    upstream: Url | None = _accepts("an http:// or https:// address", default=None)
    upstream_username: str | None = _accepts("a name without colon", default=None, pattern="^[^:]+$")
    upstream_password_file: SecretFile | None = _accepts(_FILE, default=None)
    upstream_password_env: SecretVariable | None = _accepts(
        "the name of an environment variable", default=None
    )
    upstream_ca_file: ReadableFile | None = _accepts(_FILE, default=None)
    upstream_timeout_seconds: int = _accepts(
        "a whole number of seconds from 1 on", default=60, strict=True, ge=1
    )
    upstream_protects_history: StrictBool = _accepts("true or false", default=False)

    @cached_property
    def segments(self) -> tuple[str, ...]:
        return tuple(segment for segment in self.path.split("/") if segment)

    def read_upstream_password(self) -> str | None:
        """Read the password from where the configuration says; None if it names no place.

        Raises OSError, UnicodeError or KeyError if it is not there.
        """
        if self.upstream_password_file:
            return self.upstream_password_file.read_text(encoding="utf-8").rstrip("\r\n")
        if self.upstream_password_env:
            return os.environ[self.upstream_password_env]
        return None


class AccessEntry(Section):
    """What some accounts may do with some repositories."""

    who: AccountPatterns = _accepts(f"{_ACCOUNTS}, and groups")
    repositories: RepositoryTexts = _accepts("a list of patterns as team/** and !team/secret")
    allow: Literal["code:read", "code:write"] = _accepts("code:read or code:write")
    refs: Annotated[RefRules | None, Given] = _accepts(
        "a list of rules as refs/heads/main=update or refs/tags/v*=create", default=None
    )


class AccessFile(Section):
    """The file that `access_file` names."""

    groups: Annotated[dict[GroupName, AccountPatterns] | None, Given] = _accepts(_GROUPS, default=None)
    access: tuple[AccessEntry, ...] = _accepts(_RULES)


class TokenLifetimes(Section):
    """How long tokens live."""

    default_lifetime: Lifetime = _accepts(_LIFETIME, default="90d")
    longest_lifetime: Lifetime = _accepts(_LIFETIME, default="365d")


class Limits(Section):
    """How much at once, how large, how slow."""

    operations: int = _number(200)
    operations_per_token: int = _number(100)
    operations_per_address: int = _number(100)
    waiting: int = _number(200)
    waiting_seconds: int = _number(15)
    unknown_tokens: int = _number(30)
    request_line_bytes: Size = _size("8KiB")
    header_bytes: Size = _size("8KiB")
    headers: int = _number(128)
    command_list_bytes: Size = _size("8MiB")
    push_bytes: Size = _size("5GiB")
    first_byte_seconds: int = _number(60)
    hook_seconds: int = _number(3600)
    receive_idle_seconds: int = _number(60)
    send_idle_seconds: int = _number(60)
    least_bytes_per_second: int = _number(100)
    spool_bytes: Size = _size("4GiB")


class HeaderSignIn(Section):
    """Whose word is taken for who somebody is: a single-sign-on proxy in front."""

    name: HeaderName = _accepts("a header's name, as X-Forwarded-User", default="X-Forwarded-User")
    from_: tuple[TrustedNetwork, ...] = _accepts(
        "a list of the networks of the single-sign-on proxy, as 10.0.0.0/8", alias="from"
    )
    create_accounts: StrictBool = _accepts("true or false", default=False)


class SignIn(Section):
    """How people get to the pages."""

    passwords: StrictBool = _accepts("true or false", default=True)
    header: HeaderSignIn | None = _accepts("name, from and create_accounts", default=None)


class AuditKeeping(Section):
    """How long the audit is kept."""

    keep: Lifetime = _accepts(_LIFETIME, default="never")


class Config(Section):
    """The whole file.

    `tls`, `scopes`, `limits` and what accounts may do may be exchanged while the proxy serves
    (`take_over`): whoever needs them reads them here each time.
    """

    model_config = ConfigDict(frozen=False)

    listen: Annotated[tuple[ListenAddress, ...], BeforeValidator(read_listen)] = _accepts(
        "host:port, [::1]:port or unix:PATH, or a list of them",
        default=(ListenAddress("127.0.0.1", 8418),),
    )
    public_url: Url = _accepts("an http:// or https:// address", default="http://127.0.0.1:8418")
    database: Annotated[str, AfterValidator(read_database)] = _accepts(
        "sqlite:///PATH", default="sqlite:///gitpat.db", validate_default=True
    )
    tls: Tls | None = _accepts("a certificate and a key", default=None)
    trusted_proxies: tuple[TrustedNetwork, ...] = _accepts(
        "a list of networks as 127.0.0.1/32", default=()
    )
    socket: SocketFile | None = _accepts("mode and group", default=None)
    workers: int = _accepts("a whole number from 1 to 64", default=1, strict=True, ge=1, le=64)
    drain_seconds: int = _accepts("a whole number of seconds from 0 on", default=30, strict=True, ge=0)
    spool: Folder = _accepts(f"a folder{_RELATIVE}", default=Path("/var/tmp"))  # noqa: S108 - nothing has a name there
    ref_cache_bytes: Space = _accepts(
        "a size as 512MiB or 2GiB, or 0", default="64MiB", validate_default=True
    )
    pack_cache_seconds: int = _accepts(
        "a whole number of seconds from 0 on", default=300, strict=True, ge=0
    )
    missing_scope_status: Literal[401, 403] = _accepts("401 or 403", default=401)
    scopes: dict[ScopeName, Description] = _accepts("scope names with a description each", default={})
    routes: tuple[RouteConfig, ...] = _accepts("a list of routes, at least one")
    groups: Annotated[dict[GroupName, AccountPatterns] | None, Given] = _accepts(_GROUPS, default=None)
    access: Annotated[tuple[AccessEntry, ...] | None, Given] = _accepts(_RULES, default=None)
    access_file: Annotated[PlainPath | None, Given] = _accepts(
        f"the path of a file{_RELATIVE}", default=None
    )
    tokens: TokenLifetimes = _accepts("default_lifetime and longest_lifetime", default=TokenLifetimes())
    limits: Limits = _accepts("limits as in config.example.yaml", default=Limits())
    audit: AuditKeeping = _accepts("keep", default=AuditKeeping())
    sign_in: SignIn = _accepts("passwords and header", default=SignIn())

    _rules: AccessRules | None = PrivateAttr(default=None)

    @property
    def rules(self) -> AccessRules | None:
        """What `access` says; None where it says nothing. `access_file` is read by whoever needs it."""
        return self._rules

    def place_rules(self, places: Sequence[str]) -> None:
        """Make the rules, now that it is known where each stands."""
        if self.access is not None:
            self._rules = rules_of(self.groups, self.access, places)

    def take_over(self, new: "Config") -> list[str]:
        """Take what may change while the proxy serves; return the other keys that differ, by name."""
        self.scopes, self.limits = new.scopes, new.limits
        self.groups, self.access, self.access_file = new.groups, new.access, new.access_file
        self._rules = new.rules
        if self.tls and new.tls:
            self.tls = new.tls
        return [name for name in type(self).model_fields if getattr(self, name) != getattr(new, name)]


def rules_of(
    groups: dict[str, tuple[str, ...]] | None, entries: Sequence[AccessEntry], places: Sequence[str]
) -> AccessRules:
    """Return the rules that the entries describe; `places` are where they stand."""
    rules = [
        AccessRule(entry.who, RepositoryPatterns(entry.repositories), entry.allow, entry.refs, place)
        for entry, place in zip(entries, places, strict=True)
    ]
    return AccessRules(tuple(rules), groups or {})
