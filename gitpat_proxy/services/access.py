"""What accounts may do, as the configuration or the file that it names says at the moment."""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import structlog

from gitpat_proxy.access.rules import AccessRule, AccessRules
from gitpat_proxy.config.errors import ConfigError
from gitpat_proxy.config.loader import load_access
from gitpat_proxy.config.model import Config

_LOOK_SECONDS = 0.25
_MOST_ACCOUNTS = 4096

_log = structlog.get_logger()


class Access:
    """The rules that hold. A file that can't be used leaves those from before; `problem` says why."""

    def __init__(self, config: Config) -> None:
        """Raise ConfigError if the file that the configuration names can't be used."""
        self._config = config
        self._seen: tuple[int, ...] | None = None
        self._tried: tuple[int, ...] | None = None
        self.problem: str | None = None
        self._of_account: Callable[[str], tuple[AccessRule, ...] | None]
        state = _state(config.access_file) if config.access_file else None
        self.hold(rules_in(config))
        self._seen = self._tried = state

    def of_account(self, name: str) -> tuple[AccessRule, ...] | None:
        """Return the rules that hold for an account; None: nothing limits what accounts may do."""
        return self._of_account(name)

    async def follow(self) -> None:
        """Look at the file until this is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.look()
            except Exception:
                # The outermost edge of a task that nobody waits for.
                _log.exception("access_not_taken")

    async def look(self) -> None:
        """Take the file's rules if they are others, all or none of them.

        What changed since the look before is left alone: of a file that is still being written the
        rules may be right, and the exclusions behind them missing.
        """
        file = self._config.access_file
        if file is None:
            return
        state = _state(file)
        is_new, self._seen = state != self._seen, state
        if is_new or state == self._tried:
            return
        self._tried = state
        # Of a thousand rules it takes a second.
        found = await asyncio.to_thread(_rules_or_error, file)
        if (_state(file), self._config.access_file) != (state, file):
            self._tried = None
        elif isinstance(found, ConfigError):
            self.problem = str(found)
            _log.error("access_not_taken", reason=self.problem)
        else:
            self.hold(found)
            self._seen = self._tried = state
            _log.info("access_taken", file=str(file), rules=len(found.rules))

    def hold(self, rules: AccessRules | None) -> None:
        """Let these hold from now on; the file is looked at again as if it had changed."""
        self._of_account = lru_cache(_MOST_ACCOUNTS)(rules.of_account) if rules else lambda _name: None
        self._seen = self._tried = self.problem = None


def rules_in(config: Config) -> AccessRules | None:
    """Return the rules that a configuration, or the file that it names, has; raise ConfigError."""
    return load_access(config.access_file) if config.access_file else config.rules


def _rules_or_error(file: Path) -> AccessRules | ConfigError:
    try:
        return load_access(file)
    except ConfigError as error:
        return error


def _state(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
