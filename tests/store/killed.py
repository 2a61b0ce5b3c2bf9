"""A process that counts what it has to write, and is killed."""

import signal
import subprocess
import sys
from pathlib import Path

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
    """Call the named methods of `Unwritten` in another process, which then is killed."""
    program = _PROGRAM.format(steps=steps)
    ended = subprocess.run([sys.executable, "-c", program, str(database)], check=False)
    assert ended.returncode == -signal.SIGKILL
