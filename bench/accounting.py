"""What a server's processes cost: CPU time and memory.

CGI programs come and go, thousands in a measurement. A control group counts their CPU time exactly,
whoever waits for them. Where none can be made (no right to, or no cgroup2) the times of the living
processes and of the children that they have waited for are added up; that misses the children of
Apache's mod_cgid and of fcgiwrap, which let the kernel reap them.
"""

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import psutil

_SAMPLE_SECONDS = 0.025
_SETTLE_SECONDS = 10.0


class Accounting(Protocol):
    """Knows a server's processes."""

    counts_orphans: bool

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs this one so that it is counted from its start."""

    def started(self, process_id: int) -> None:
        """Take note of a process that such a command became."""

    def cpu_seconds(self) -> float:
        """Return what all processes, living and ended, have used so far."""

    def processes(self) -> list[int]:
        """Return the ids of the living ones."""

    def close(self) -> None:
        """Leave nothing behind; the processes have ended."""


class ControlGroup:
    """A cgroup of its own; its cpu.stat is there whatever controllers are on (cgroup-v2.rst)."""

    counts_orphans = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def make(cls, name: str) -> Self | None:
        """Return None where this process may not make one."""
        parent = _own_group()
        if parent is None:
            return None
        folder = parent / f"gitpat-bench-{os.getpid()}-{name}"
        try:
            folder.mkdir()
            # Moving into it takes a right of its own, on the group that the process is in now.
            if not _can_enter(folder):
                folder.rmdir()
                return None
        except OSError:
            return None
        return cls(folder)

    def command(self, command: Sequence[str]) -> list[str]:
        # The shell becomes the program, so nothing of it is counted anywhere else.
        enter = 'echo $$ >"$0" && exec "$@"'
        return ["/bin/sh", "-c", enter, str(self._folder / "cgroup.procs"), *command]

    def started(self, process_id: int) -> None:
        """Nothing to note: the group knows."""

    def cpu_seconds(self) -> float:
        text = (self._folder / "cpu.stat").read_text()
        return int(re.findall(r"^usage_usec (\d+)$", text, re.MULTILINE)[0]) / 1e6

    def processes(self) -> list[int]:
        return [int(line) for line in (self._folder / "cgroup.procs").read_text().split()]

    def close(self) -> None:
        # A group is busy for a moment after its last process has ended.
        for _ in range(100):
            with suppress(OSError):
                self._folder.rmdir()
                return
            time.sleep(0.02)


def _own_group() -> Path | None:
    mounts = re.findall(r"^\S+ (\S+) cgroup2 ", Path("/proc/self/mounts").read_text(), re.MULTILINE)
    own = re.findall(r"^0::(/.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    return Path(mounts[0] + own[0]) if mounts and own else None


def _can_enter(folder: Path) -> bool:
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(OSError):
            (folder / "cgroup.procs").write_text(str(os.getpid()))
            code = 0
        os._exit(code)
    return os.waitpid(child, 0)[1] == 0


class ProcessTree:
    """The processes that were started and their descendants, from /proc."""

    counts_orphans = False

    def __init__(self) -> None:
        self._roots: list[int] = []

    def command(self, command: Sequence[str]) -> list[str]:
        return list(command)

    def started(self, process_id: int) -> None:
        self._roots.append(process_id)

    def cpu_seconds(self) -> float:
        total = 0.0
        for process_id in self.processes():
            with suppress(psutil.Error):
                times = psutil.Process(process_id).cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def processes(self) -> list[int]:
        found: list[int] = []
        for root in self._roots:
            with suppress(psutil.Error):
                process = psutil.Process(root)
                found += [root, *(child.pid for child in process.children(recursive=True))]
        return found

    def close(self) -> None:
        """Nothing was made."""


def accounting(name: str) -> Accounting:
    """Return the best that this machine allows."""
    return ControlGroup.make(name) or ProcessTree()


def is_git(process_id: int) -> bool:
    """Tell whether it is one of git's; False if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{process_id}/comm").read_text().startswith("git")
    return False


def settle(accounting: Accounting) -> None:
    """Wait until the CGI programs have ended, so that what they used is counted where it belongs."""
    end = time.monotonic() + _SETTLE_SECONDS
    while any(map(is_git, accounting.processes())) and time.monotonic() < end:
        time.sleep(0.01)


class OtherLoad:
    """How much of the machine others use meanwhile: what tells noisy figures from quiet ones."""

    def __init__(self) -> None:
        self._seconds = self._others = 0.0

    @property
    def cores(self) -> float:
        """How many cores others kept busy, on average, while this was watching."""
        return max(0.0, self._others / self._seconds) if self._seconds else 0.0

    @contextmanager
    def watching(self, server: Accounting) -> Iterator[None]:
        """Watch while one server is measured; it is not stopped or started in between.

        Since then the bench waits only for its clients, so no CPU time is counted twice.
        """
        begin, busy, own = time.monotonic(), _busy_seconds(), self._own(server)
        yield
        self._seconds += time.monotonic() - begin
        self._others += _busy_seconds() - busy - (self._own(server) - own)

    def _own(self, server: Accounting) -> float:
        return sum(os.times()[:4]) + server.cpu_seconds()


def _busy_seconds() -> float:
    """Return the CPU time of the whole machine, the kernel's and stolen time included (proc(5))."""
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = [
        int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    ]
    return (user + nice + system + sum(interrupts_and_stolen)) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    """A process' memory in MiB: `pss` with its share of shared pages, `anonymous` without files,
    `uss` what nobody shares with it.
    """

    pss: float
    anonymous: float
    uss: float


def memory_of(process_ids: Iterable[int]) -> Memory:
    """Return the sum over processes; those that have ended count nothing."""
    pss = anonymous = uss = 0
    for process_id in process_ids:
        with suppress(OSError):
            fields = Path(f"/proc/{process_id}/smaps_rollup").read_text()
            pss += _kibibytes("Pss", fields)
            anonymous += _kibibytes("Pss_Anon", fields)
            uss += _kibibytes("Private_Clean", fields) + _kibibytes("Private_Dirty", fields)
    return Memory(pss / 1024, anonymous / 1024, uss / 1024)


def peak_resident_mib(process_id: int) -> float:
    """Return the most that the process ever had resident, as the kernel recorded it."""
    return _kibibytes("VmHWM", Path(f"/proc/{process_id}/status").read_text()) / 1024


def _kibibytes(name: str, fields: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", fields, re.MULTILINE)
    return int(found[1]) if found else 0


class MemorySampler:
    """Looks at a server's memory every few milliseconds while it is entered, and keeps the most.

    `own`: the server's processes alone. Those are the ones that are there before any request: a
    child that has not become git yet shares its parent's memory, which would count twice. `all`:
    with git's, without the packs that those map, since these pages are the page cache's.
    """

    def __init__(self, accounting: Accounting) -> None:
        self._accounting = accounting
        self._own = accounting.processes()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.own = 0.0
        self.all = 0.0

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        own = memory_of(self._own)
        of_git = memory_of(filter(is_git, self._accounting.processes()))
        self.own = max(self.own, own.pss)
        self.all = max(self.all, own.pss + of_git.anonymous)
