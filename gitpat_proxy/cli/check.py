"""`gitpat-proxy check`: does every part work, a line each."""

import asyncio
import errno
import os
import ssl
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import typer

from gitpat_proxy.backends.base import Finding
from gitpat_proxy.backends.http_backend import http_backend_program
from gitpat_proxy.cli.context import Json, invocation_of
from gitpat_proxy.cli.output import print_json
from gitpat_proxy.config.errors import ConfigError
from gitpat_proxy.config.loader import load_access
from gitpat_proxy.config.model import Config, Tls
from gitpat_proxy.config.values import ListenAddress
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.clock import utc_now
from gitpat_proxy.services.passwords import Passwords
from gitpat_proxy.store.database import Database, check_revision
from gitpat_proxy.store.errors import DatabaseError

_OLDEST_GIT = (2, 31)


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
        *await _access(config),
        *[await _listen(address) for address in config.listen],
        *([_certificate(config.tls)] if config.tls else []),
        _spool(config),
        *[finding async for finding in _routes(config)],
    ]


def _git() -> Finding:
    try:
        program = http_backend_program()
    except FileNotFoundError as error:
        return Finding("git", False, str(error))
    text = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S607 - as it is found when it serves
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


async def _access(config: Config) -> list[Finding]:
    """Try the rules; that a name is nobody's may be meant: accounts come later, and go."""
    part = f"access {config.access_file}" if config.access_file else "access"
    try:
        rules = load_access(config.access_file) if config.access_file else config.rules
    except ConfigError as error:
        return [Finding(part, False, str(problem)) for problem in error.problems]
    if rules is None:
        return []
    detail = f"{len(rules.rules)} rules"
    async with Database(config.database) as database:
        with suppress(DatabaseError):
            accounts = await Accounts(database, utc_now, Passwords()).listed()
            if strangers := rules.strangers(account.name for account in accounts):
                detail += f"; neither a group nor an account so far: {', '.join(strangers)}"
    return [Finding(part, True, detail)]


async def _listen(address: ListenAddress) -> Finding:
    """Try it; for a Unix socket only look: none is left behind, nor taken from who has it."""
    if address.path:
        return _listen_at(address.path, f"listen {address}")
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(asyncio.Protocol, address.host, address.port)
    except OSError as error:
        return cannot_listen(address, error)
    server.close()
    return Finding(f"listen {address}", True, "nothing listens there yet")


def _listen_at(path: Path, part: str) -> Finding:
    folder = os.path.realpath(path.parent)
    is_folder = os.path.isdir(folder)  # noqa: PTH112 - Path.is_dir raises below what is closed to us
    if os.path.lexists(path):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            return Finding(part, True, "a socket is there already; is gitpat-proxy running?")
        why = "what is there is no socket"
    elif is_folder and os.access(folder, os.W_OK | os.X_OK):
        return Finding(part, True, f"a socket can be made in {folder}")
    elif is_folder:
        why = f"this user may not make a file in {folder}"
    elif folder.startswith("/run/"):
        return Finding(
            part, True, f"there is no {folder} yet; its unit has to make it (RuntimeDirectory)"
        )
    else:
        why = f"there is no folder {folder} that this user can see"
    return Finding(part, False, f"can't listen there: {why}; `listen` names where")


def cannot_listen(address: ListenAddress, error: OSError) -> Finding:
    """Two reasons are no fault: gitpat-proxy serves already, or its unit gives it a capability."""
    part = f"listen {address}"
    if error.errno == errno.EADDRINUSE:
        return Finding(part, True, "something listens there already; is gitpat-proxy running?")
    if error.errno == errno.EACCES:
        return Finding(
            part, True, "this user may not listen there; the server needs CAP_NET_BIND_SERVICE"
        )
    # asyncio's own words repeat the address; a name that is not found has a number below 0.
    number = error.errno or 0
    why = os.strerror(number).lower() if number > 0 else error.strerror or str(error)
    return Finding(part, False, f"can't listen there: {why}; `listen` names where")


def _spool(config: Config) -> Finding:
    from gitpat_proxy.backends.answers import Answers  # noqa: PLC0415 - other commands start without it

    part = f"spool {config.spool}"
    try:
        Answers(config).spool.open().close()
    except OSError as error:
        return Finding(part, False, f"no file can be made there: {error.strerror}; `spool` names where")
    return Finding(part, True, "files can be made there")


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
    from gitpat_proxy.serve.tls import tls_context  # noqa: PLC0415 - other commands start without it

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
    # Other commands start without them.
    from gitpat_proxy.app import backend_of  # noqa: PLC0415
    from gitpat_proxy.backends.answers import Answers  # noqa: PLC0415

    for route in config.routes:
        try:
            backend = backend_of(route, config, Answers(config))
        except OSError as error:
            yield Finding(f"route {route.path}", False, str(error))
            continue
        try:
            finding = await backend.check()
        finally:
            await backend.close()
        yield Finding(f"route {route.path}", finding.ok, f"{finding.part}: {finding.detail}")
