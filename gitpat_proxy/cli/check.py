"""`gitpat-proxy check`: does every part work, a line each."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime

import typer

from gitpat_proxy.backends.base import Finding
from gitpat_proxy.backends.http_backend import http_backend_program
from gitpat_proxy.cli.context import Json, invocation_of
from gitpat_proxy.cli.output import print_json
from gitpat_proxy.config.loader import ConfigError
from gitpat_proxy.config.model import Config, Tls
from gitpat_proxy.store.database import Database, check_revision
from gitpat_proxy.store.errors import DatabaseError

_OLDEST_GIT = (2, 30)


def check(context: typer.Context, as_json: Json = False) -> None:
    """Read the configuration and try every part of it; exit 1 if one fails."""
    invocation = invocation_of(context)
    try:
        config = invocation.config
    except ConfigError as error:
        findings = [Finding("configuration", False, str(problem)) for problem in error.problems]
    else:
        read = Finding("configuration", True, str(invocation.config_file))
        findings = [read, *asyncio.run(_findings(config))]
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.part}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


async def _findings(config: Config) -> list[Finding]:
    return [
        _git(),
        await _database(config),
        *([_certificate(config.tls)] if config.tls else []),
        *[finding async for finding in _routes(config)],
    ]


def _git() -> Finding:
    try:
        program = http_backend_program()
    except FileNotFoundError as error:
        return Finding("git", False, str(error))
    text = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False).stdout
    version = text.removeprefix("git version ").strip()
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    oldest = ".".join(map(str, _OLDEST_GIT))
    return Finding("git", numbers >= _OLDEST_GIT, f"{version} (at least {oldest}), {program}")


async def _database(config: Config) -> Finding:
    async with Database(config.database) as database:
        try:
            await check_revision(database)
        except DatabaseError as error:
            return Finding("database", False, str(error))
    return Finding("database", True, f"{config.database}, schema up to date")


def _certificate(tls: Tls) -> Finding:
    part = f"certificate {tls.certificate}"
    try:
        ends = _end_of_validity(tls)
    except (OSError, ssl.SSLError) as error:
        return Finding(part, False, f"with the key {tls.key}: {error}")
    return Finding(part, True, f"fits its key, valid until {ends:%Y-%m-%d}")


def _end_of_validity(tls: Tls) -> datetime:
    """Shake hands with the certificate in memory, trusting it alone.

    Raises OSError or ssl.SSLError if it does not fit its key or is not valid now.
    """
    from gitpat_proxy.serve import tls_context  # noqa: PLC0415 - other commands start without it

    trusting = ssl.create_default_context(cafile=tls.certificate)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = tls_context(tls).wrap_bio(to_server, to_client, server_side=True)
    client = trusting.wrap_bio(to_client, to_server)
    for side in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    certificate = client.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)


async def _routes(config: Config) -> AsyncIterator[Finding]:
    from gitpat_proxy.app import backend_of  # noqa: PLC0415 - other commands start without it

    for route in config.routes:
        try:
            backend = backend_of(route, config)
        except OSError as error:
            yield Finding(f"route {route.path}", False, str(error))
            continue
        try:
            finding = await backend.check()
        finally:
            await backend.close()
        yield Finding(f"route {route.path}", finding.ok, f"{finding.part}: {finding.detail}")
