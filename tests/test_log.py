"""The log as a process writes it: JSON lines on standard error, without secrets."""

import json
import subprocess
import sys
from typing import Any

from gitpat_proxy.access.secret import hint_of, make_secret
from tests.support.secrets_seen import SEEN

PRELUDE = """
import logging, sys, structlog
from gitpat_proxy.log import set_up_log
set_up_log()
log, secret = structlog.get_logger(), sys.stdin.read()
"""


def logged(program: str) -> tuple[list[dict[str, Any]], str]:
    """Run a program that has `log` and `secret`; return its lines and the secret."""
    secret = make_secret()
    SEEN.secrets.add(secret)
    result = subprocess.run(
        [sys.executable, "-c", PRELUDE + program],
        input=secret,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == ""
    assert secret not in result.stderr
    SEEN.texts.append(result.stderr)
    return [json.loads(line) for line in result.stderr.splitlines()], secret


def test_each_event_is_one_json_line_with_level_and_time() -> None:
    [line, other], _ = logged("log.info('request', status=200, code=None)\nlog.error('ü\\n', x='\\x1b')")
    assert line.pop("time").endswith("Z")
    assert line == {"event": "request", "level": "info", "status": 200, "code": None}
    assert (other["event"], other["x"], other["level"]) == ("ü\n", "\x1b", "error")


def test_a_secret_that_gets_into_a_line_is_replaced_by_its_hint() -> None:
    lines, secret = logged(
        """
log.info("request", text=f"https://ada:{secret}@host/x", path=secret)
log.info(f"event {secret}")
try:
    raise ValueError(f"no {secret}")
except ValueError:
    log.exception("failed")
logging.getLogger("aiohttp.server").error("Error handling %s", secret)
try:
    {}[secret]
except KeyError:
    logging.getLogger("asyncio").exception("Task failed")
"""
    )
    hint = hint_of(secret)
    assert lines[0]["text"] == f"https://ada:{hint}@host/x"
    assert lines[0]["path"] == hint
    assert lines[1]["event"] == f"event {hint}"
    assert f"ValueError: no {hint}" in lines[2]["exception"]
    assert lines[3]["text"] == f"Error handling {hint}"
    assert f"KeyError: '{hint}'" in lines[4]["exception"]


def test_a_secret_inside_a_list_or_an_object_is_replaced_too() -> None:
    lines, secret = logged("log.info('x', words=['git', secret], headers={'a': (secret, 1)})")
    assert lines[0]["words"] == ["git", hint_of(secret)]
    assert lines[0]["headers"] == {"a": [hint_of(secret), 1]}


def test_libraries_are_heard_from_warnings_on() -> None:
    lines, _ = logged(
        """
logger = logging.getLogger("aiohttp.access")
logger.info("not this")
logger.warning("this %s", 1)
"""
    )
    assert [(line["level"], line["event"], line["text"]) for line in lines] == [
        ("warning", "aiohttp.access", "this 1")
    ]
