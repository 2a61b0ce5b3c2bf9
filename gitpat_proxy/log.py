"""The log: one line for each thing that happened, JSON, or readable on a terminal."""

import logging
import sys
from typing import Any

import structlog

from gitpat_proxy.access.secret import without_secrets


def set_up_log() -> None:
    """Send structlog's lines and the libraries' warnings to standard error."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(timestamp_key="time")
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            renderer,
            _without_secrets,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=logging.WARNING, force=True)


def _without_secrets(_logger: object, _method: str, line: Any) -> str:  # noqa: ANN401 - structlog's type
    """The last net under a promise that is kept elsewhere: a secret typed into a URL or a name."""
    return without_secrets(str(line))


class _ToStructlog(logging.Handler):
    """Passes what libraries log on, in our form."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, record.name, text=record.getMessage(), exc_info=record.exc_info
        )
