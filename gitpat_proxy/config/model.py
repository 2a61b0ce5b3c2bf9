"""The configuration's keys: what there is, what it is by default, and what is accepted."""

import os
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from gitpat_proxy.config.values import (
    Description,
    Folder,
    HeaderName,
    Lifetime,
    ListenAddress,
    ReadableFile,
    ScopeName,
    SecretFile,
    SecretVariable,
    TrustedNetwork,
    Url,
    read_database,
    read_listen,
    read_route_path,
)

_RELATIVE = "; a relative path is relative to this file"
_FILE = f"a file that can be read{_RELATIVE}"
_LIFETIME = "a duration as 90d or 12h, or never"


def _accepts(accepted: str, **options: Any) -> Any:  # noqa: ANN401 - pydantic's own signature
    """Make a field that says, in an error, what is accepted."""
    return Field(json_schema_extra={"accepted": accepted}, **options)


class Section(BaseModel):
    """What all parts of the configuration share: nothing unknown, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


class Tls(Section):
    """The proxy's own certificate, where nothing in front of it has one."""

    certificate: ReadableFile = _accepts(_FILE)
    key: ReadableFile = _accepts(_FILE)


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


class TokenLifetimes(Section):
    """How long tokens live."""

    default_lifetime: Lifetime = _accepts(_LIFETIME, default="90d")
    longest_lifetime: Lifetime = _accepts(_LIFETIME, default="365d")


class Limits(Section):
    """How much at once."""

    operations: int = _accepts("a whole number from 1 on", default=200, strict=True, ge=1)
    unknown_tokens: int = _accepts("a whole number from 1 on", default=30, strict=True, ge=1)


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
    """The whole file."""

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
    workers: Literal[1] = _accepts("1 (more processes come with a later version)", default=1)
    missing_scope_status: Literal[401, 403] = _accepts("401 or 403", default=401)
    scopes: dict[ScopeName, Description] = _accepts("scope names with a description each", default={})
    routes: tuple[RouteConfig, ...] = _accepts("a list of routes, at least one")
    tokens: TokenLifetimes = _accepts("default_lifetime and longest_lifetime", default=TokenLifetimes())
    limits: Limits = _accepts("operations and unknown_tokens", default=Limits())
    audit: AuditKeeping = _accepts("keep", default=AuditKeeping())
    sign_in: SignIn = _accepts("passwords and header", default=SignIn())
