"""The real program, its two streams apart."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.proxy import PROGRAM, Proxy
from tests.support.secrets_seen import SEEN


@dataclass(frozen=True)
class Run:
    """What one run of the program left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert (self.code, self.err) == (0, "")
        return json.loads(self.out)

    @property
    def refusal(self) -> str:
        """The one line with which a command says that it can't do it."""
        assert (self.code, self.out) == (1, "")
        assert self.err.startswith("gitpat-proxy: ")
        assert self.err.count("\n") == 1
        return self.err.removeprefix("gitpat-proxy: ").rstrip("\n")


def run(
    proxy: Proxy | None,
    *arguments: str,
    stdin: str = "",
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Run:
    config = ["--config", str(proxy.config_file)] if proxy else []
    result = subprocess.run(
        [PROGRAM, *config, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | (environment or {}),
        timeout=120,
    )
    SEEN.texts.append(result.stderr)
    assert "Traceback" not in result.stderr
    return Run(result.returncode, result.stdout, result.stderr)


def run_each(proxy: Proxy | None, commands: Sequence[Sequence[str]]) -> list[Run]:
    """Run independent commands, some at once, to save time."""
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(lambda arguments: run(proxy, *arguments), commands))


def typed(proxy: Proxy, *arguments: str, answers: Mapping[str, str]) -> tuple[Run, str]:
    """Run a command in a terminal, and type a line each time it asks; `answers` are by the prompts.

    Returns also what the terminal showed.
    """
    terminal, other_end = os.openpty()
    with subprocess.Popen(
        [PROGRAM, "--config", str(proxy.config_file), *arguments],
        stdin=other_end,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        asked = b""
        for prompt, text in answers.items():
            while prompt.encode() not in asked:
                read = os.read(process.stderr.fileno(), 1000)
                assert read, f"it asked nothing but {asked!r}"
                asked += read
            os.write(terminal, f"{text}\n".encode())
        out, err = process.communicate(timeout=60)
    os.set_blocking(terminal, False)
    try:
        shown = os.read(terminal, 10_000).decode()
    except BlockingIOError:
        shown = ""
    os.close(other_end)
    os.close(terminal)
    return Run(process.returncode, out.decode(), (asked + err).decode()), shown
