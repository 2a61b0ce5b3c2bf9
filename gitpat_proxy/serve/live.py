"""What a process that serves may exchange while it does, and what it tells the service manager."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import structlog
from gunicorn.systemd import sd_notify

from gitpat_proxy.config.errors import ConfigError
from gitpat_proxy.config.model import Config
from gitpat_proxy.serve.tls import Certificate
from gitpat_proxy.services.access import Access, rules_in

Started: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""Called once, when the sockets listen."""

_log = structlog.get_logger()


class Live:
    """The configuration, the rules and the certificate of a process; `load` reads the former anew.

    Raises OSError with a sentence if the certificate can't be used, ConfigError if the rules can't.
    """

    def __init__(self, config: Config, load: Callable[[], Config]) -> None:
        self.config = config
        self.access = Access(config)
        self.certificate = Certificate(config.tls) if config.tls else None
        self._load = load

    def reload(self) -> bool:
        """Take certificate, scopes, limits and rules anew; if anything is wrong, nothing of it."""
        try:
            new = self._load()
            rules = rules_in(new)
            if self.certificate and new.tls:
                self.certificate.exchange(new.tls)
        except (ConfigError, OSError) as error:
            _log.error("not_reloaded", reason=str(error))
            return False
        needs_restart = self.config.take_over(new)
        self.access.hold(rules)
        _log.info("reloaded", needs_restart=needs_restart)
        return True

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Follow the files of rules and certificate as long as the block runs."""
        following = [asyncio.create_task(self.access.follow())]
        if self.certificate:
            following.append(asyncio.create_task(self.certificate.follow_files()))
        try:
            yield
        finally:
            for task in following:
                task.cancel()


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)), if it has started this process."""
    sd_notify(state, logging.getLogger(__name__))


async def keep_watchdog_quiet() -> None:
    """Tell systemd twice in its time that the event loop still turns, until this is cancelled."""
    microseconds = int(os.environ.get("WATCHDOG_USEC", "0"))
    while microseconds:
        notify("WATCHDOG=1")
        await asyncio.sleep(microseconds / 2_000_000)
