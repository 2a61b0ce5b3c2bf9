"""A process that counts what it has to write, and is killed."""

import fcntl
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.proxy import wait_until

_PROGRAM = """
import os, signal, sys
from pathlib import Path
from gitpat_proxy.store.unwritten import Unwritten
unwritten = Unwritten()
unwritten.open(Path(sys.argv[1]))
for name, arguments in {steps!r}:
    getattr(unwritten, name)(*arguments)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_after(database: Path, *steps: tuple[str, tuple[object, ...]]) -> None:
    """Call the named methods of `Unwritten` in another process, which then is killed.

    Whoever reads its command line in /proc at that moment keeps its memory, and so the file's lock.
    """
    before = set(database.parent.iterdir())
    program = _PROGRAM.format(steps=steps)
    ended = subprocess.run([sys.executable, "-c", program, str(database)], check=False)
    assert ended.returncode == -signal.SIGKILL
    [file] = set(database.parent.iterdir()) - before
    wait_until(lambda: _is_free(file), what="the end of a killed process's lock")


def _is_free(file: Path) -> bool:
    with file.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
