"""The proxy's own certificate, and its exchange while connections go on."""

import asyncio
import ssl
from pathlib import Path

import structlog

from gitpat_proxy.config.model import Tls

_LOOK_SECONDS = 1.0

_log = structlog.get_logger()


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and later; raise OSError with a sentence if the files don't do."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        raise OSError(f"tls: {tls.certificate} and {tls.key} can't be used: {error}") from None
    return context


class Certificate:
    """A context that new connections use, whose certificate can be exchanged."""

    def __init__(self, tls: Tls) -> None:
        self.context = tls_context(tls)
        self._tls = tls
        self._seen = _state(tls)

    def exchange(self, tls: Tls) -> None:
        """Take another one; raise OSError with a sentence, and keep the old one, if it won't do."""
        self._seen = _state(tls)
        tls_context(tls)
        self.context.load_cert_chain(tls.certificate, tls.key, password=_no_passphrase)
        self._tls = tls

    async def follow_files(self) -> None:
        """Take the certificate again whenever its files change, until this is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if _state(self._tls) == self._seen:
                continue
            try:
                self.exchange(self._tls)
            except OSError as error:
                # The files are written one after the other: the second one makes it right.
                _log.error("certificate_not_taken", reason=str(error))
            else:
                _log.info("certificate_taken", certificate=str(self._tls.certificate))


def _no_passphrase() -> str:
    """OpenSSL would ask for one on the terminal."""
    raise ValueError("the key has a passphrase, and nobody is there to type it")


def _state(tls: Tls) -> list[tuple[int, ...]]:
    return [_file_state(tls.certificate), _file_state(tls.key)]


def _file_state(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
