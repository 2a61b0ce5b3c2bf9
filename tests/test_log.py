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
    return [json.loads(line) for line in result.stderr.splitlines() if line], secret


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


def test_a_repeated_line_is_what_it_would_be_otherwise() -> None:
    facts = {"id": "-", "text": 'ü % %s "\\n\x1b', "no": None, "seconds": 0, "more": [1, {"a": True}]}
    lines, _ = logged(
        f"""
from gitpat_proxy.log import RepeatedLine, log_line
facts = {facts!r}
line = RepeatedLine("request", facts, ("id", "seconds"))
line.write("abc", 0.25)
log_line("request", facts | {{"id": "abc", "seconds": 0.25}})
line.write("def", 7)
"""
    )
    assert lines[2]["id"] == "def"
    assert lines[2]["seconds"] == 7
    for line in lines:
        assert line.pop("time").endswith("Z")
    assert list(lines[0].items()) == list(lines[1].items())
    assert lines[0] == facts | {"id": "abc", "seconds": 0.25, "event": "request", "level": "info"}


def test_no_fact_takes_the_place_of_one_that_differs() -> None:
    lines, secret = logged(
        """
from gitpat_proxy.log import RepeatedLine
names = ["id", "\\0id\\0", "%s", "%(id)s", "0" * 32 + " id"]
line = RepeatedLine("request", {"names": names, "secret": secret, "id": 0}, ("id",))
line.write(5)
"""
    )
    assert lines[0]["names"] == ["id", "\0id\0", "%s", "%(id)s", "0" * 32 + " id"]
    assert lines[0]["id"] == 5
    assert lines[0]["secret"] == hint_of(secret)


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


def test_of_what_is_no_http_only_the_kind_is_logged() -> None:
    """aiohttp says it with the request in it, credentials and all."""
    lines, _ = logged(
        """
from aiohttp import http_exceptions
header = f"Authorization: Basic {secret}\\x01".encode()
for error in [
    http_exceptions.BadHttpMessage(f"400, message: {header}"),
    http_exceptions.InvalidHeader(header),
    http_exceptions.LineTooLong(header, 8190),
    http_exceptions.BadStatusLine(repr(header)),
]:
    try:
        raise error
    except Exception:
        logging.getLogger("aiohttp.server").exception(f"Error handling request {header} {error}")
"""
    )
    for line in lines:
        assert line.pop("time").endswith("Z")
    assert lines == [
        {"event": "not_http", "kind": kind, "level": "info"}
        for kind in ["BadHttpMessage", "InvalidHeader", "LineTooLong", "BadStatusLine"]
    ]


CREDENTIALS = [
    ("Authorization: Basic " + "YWRhOng" + "=", "Authorization: Basic …"),
    ("authorization: basic " + "YWRhOng" + "= x", "authorization: basic … x"),
    ("b'BASIC \t " + "ab+/cd" + "=='", "b'BASIC …'"),
    ("Bearer " + "abc_DEF-123", "Bearer …"),
    ("'Bearer', 'x', \"bearer " + 'abc"', "'Bearer', 'x', \"bearer …\""),
    ("Proxy-Authorization: Bearer " + "eyJh.eyJz.c2ln~x", "Proxy-Authorization: Bearer …"),
    ("a basically normal line", "a basically normal line"),
    ("forebearer x", "forebearer x"),
]


def test_credentials_of_any_kind_are_cut_in_any_line() -> None:
    texts = [text for text, _ in CREDENTIALS]
    lines, _ = logged(
        f"""
for number, text in enumerate({texts!r}):
    log.info("request", text=text)
    logging.getLogger(f"library-{{number}}").warning("it says: %s", text)
"""
    )
    assert [line["text"] for line in lines] == [
        said for _, cut in CREDENTIALS for said in (cut, f"it says: {cut}")
    ]


def test_the_same_message_of_a_library_twice_within_a_second_is_one_line() -> None:
    lines, _ = logged(
        """
import time
asyncio, aiohttp = logging.getLogger("asyncio"), logging.getLogger("aiohttp.server")
for number in range(1000):
    asyncio.error("out of descriptors")
    asyncio.error("failed with %s", number)
aiohttp.error("out of descriptors")
asyncio.error("another")
for _ in range(3):
    log.error("ours", text="each")
time.sleep(1.05)
asyncio.error("out of descriptors")
"""
    )
    assert [(line["event"], line["text"]) for line in lines] == [
        ("asyncio", "out of descriptors"),
        ("asyncio", "failed with 0"),
        ("aiohttp.server", "out of descriptors"),
        ("asyncio", "another"),
        *[("ours", "each")] * 3,
        ("asyncio", "out of descriptors"),
    ]


def test_what_is_remembered_of_messages_is_bounded() -> None:
    """Some libraries put addresses and numbers into the message itself."""
    lines, _ = logged(
        """
import os, tracemalloc
saved = os.dup(2)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
logger = logging.getLogger("asyncio")
tracemalloc.start()
for number in range(20_000):
    logger.error(f"transport <fd={number}>")
size, _ = tracemalloc.get_traced_memory()
os.dup2(saved, 2)
log.info("size", size=size)
"""
    )
    assert lines[-1]["size"] < 1024 * 1024


def test_lines_held_back_stay_whole_where_others_write_into_the_same_pipe() -> None:
    """What a pipe takes at once is `PIPE_BUF` bytes; a socket that keeps the pieces shows them."""
    lines, _ = logged(
        """
import json, os, select, socket
from gitpat_proxy.log import hold_lines, release_lines
theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
kept = os.dup(2)
os.dup2(theirs.fileno(), 2)
log.info("before")
hold_lines()
for number in range(30):
    log.info("x", number=number, text="y" * (6000 if number == 20 else 700))
ours.setblocking(False)
pieces = [ours.recv(65536)]
release_lines()
log.info("after")
try:
    while True:
        pieces.append(ours.recv(65536))
except BlockingIOError:
    pass
os.dup2(kept, 2)
assert [json.loads(line)["event"] for line in (pieces[0], pieces[-1])] == ["before", "after"]
for piece in pieces:
    assert piece.endswith(b"\\n")
    assert len(piece) <= select.PIPE_BUF or piece.count(b"\\n") == 1
assert len(pieces) < 12, len(pieces)
os.write(2, b"".join(pieces))
"""
    )
    assert [line["number"] for line in lines[1:-1]] == list(range(30))


def test_each_held_back_line_that_is_lost_counts() -> None:
    lines, _ = logged(
        """
import os
from gitpat_proxy.log import hold_lines, release_lines
kept = os.dup(2)
os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
hold_lines()
for number in range(20):
    log.info("x", text="y" * 700)
release_lines()
os.dup2(kept, 2)
log.info("after")
""",
    )
    assert [line["event"] for line in lines] == ["log_lines_lost", "after"]
    assert lines[0]["lines"] == 20


def test_of_lines_held_back_those_that_are_not_whole_count_as_lost() -> None:
    lines, _ = logged(
        """
import os, resource, signal, tempfile
from gitpat_proxy.log import hold_lines, release_lines
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
file, kept = tempfile.TemporaryFile(), os.dup(2)
os.dup2(file.fileno(), 2)
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, unlimited[1]))
hold_lines()
for number in range(5):
    log.info("x", number=number, text="y" * 700)
release_lines()
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
log.info("after")
os.dup2(kept, 2)
file.seek(0)
broken = [line for line in file if line[-2:] != b"}\\n"]
file.seek(0)
os.write(2, b"".join(line for line in file if line not in broken))
assert len(broken) == 1, broken
"""
    )
    assert [line["event"] for line in lines] == ["x", "x", "x", "log_lines_lost", "after"]
    assert lines[3]["lines"] == 2
