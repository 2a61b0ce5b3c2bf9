"""Hooks that do not end, and what they leave behind. By /proc: where there is none, nothing is found."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import structlog

_LOOK_SECONDS = 1.0
_LEFT_BEHIND_SECONDS = 10.0

_PROC = Path("/proc")


class HookWatch:
    """Ends what keeps git from completing a push that has arrived.

    A hook that takes too long; git then says that it failed, and refuses or keeps the refs as if it had.
    Ended itself, git could leave a push half applied. And a process that a hook left behind with the
    hook's output still open: git, and the client with it, would wait for it. One that has let go of the
    output, as git's own `gc` does, lives on.
    """

    def __init__(
        self,
        git: int,
        longest: float,
        request_id: str,
        *,
        is_started_by_git: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`git` is what receives the push, or what starts that one."""
        self._git = git
        self._is_started_by_git = is_started_by_git
        self._longest = longest
        self._clock = clock
        self._log = structlog.get_logger().bind(request=request_id)
        self._began = clock()
        self._waiting_since: float | None = None
        self._told: set[int] = set()

    async def run(self) -> NoReturn:
        """Look until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            # RuntimeError: no thread is to be had; the next look may get one.
            with suppress(RuntimeError):
                await asyncio.to_thread(self.look)

    def look(self) -> None:
        """End what has gone on for too long; what does not obey is killed at the next look."""
        now = self._clock()
        is_late = now - self._began >= self._longest
        for receiver in _children(self._git) if self._is_started_by_git else {self._git}:
            if hooks := _children(receiver):
                self._waiting_since = None
                if is_late:
                    self._end(hooks, f"a hook took longer than {self._longest:g} s")
            elif holders := set(_holders(_pipes(receiver))) - {self._git, receiver}:
                self._waiting_since = self._waiting_since or now
                if is_late or now - self._waiting_since >= _LEFT_BEHIND_SECONDS:
                    self._end(holders, "a hook left it behind with the hook's output open")

    def _end(self, processes: set[int], reason: str) -> None:
        for process in processes:
            if process not in self._told:
                self._log.warning(
                    "hook_ended", process=process, command=_command(process), reason=reason
                )
            number = signal.SIGKILL if process in self._told else signal.SIGTERM
            self._told.add(process)
            # PermissionError: it has become another user's.
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, number)


def _children(process: int) -> set[int]:
    """Return those that run: git looks after one that has ended only when it has read its output."""
    children: set[int] = set()
    for file in _PROC.glob(f"{process}/task/*/children"):
        with suppress(OSError):
            children.update(map(int, file.read_text().split()))
    return {child for child in children if _runs(child)}


def _runs(process: int) -> bool:
    try:
        state = (_PROC / str(process) / "stat").read_text().rpartition(") ")[2]
    except OSError:
        return False
    return not state.startswith("Z")


def _pipes(process: int) -> set[str]:
    """Return the pipes that a process has opened itself, as the links in /proc name them."""
    return {target for number, target in _open_files(process) if number > 2 and "pipe:" in target}


def _holders(pipes: set[str]) -> Iterator[int]:
    for folder in _PROC.glob("[0-9]*") if pipes else ():
        if any(target in pipes for _, target in _open_files(int(folder.name))):
            yield int(folder.name)


def _open_files(process: int) -> Iterator[tuple[int, str]]:
    folder = _PROC / str(process) / "fd"
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - names alone, of all processes
            with suppress(OSError):
                yield int(name), os.readlink(folder / name)  # noqa: PTH115 - as above


def _command(process: int) -> str:
    try:
        return (_PROC / str(process) / "comm").read_text().strip()
    except OSError:
        return ""
