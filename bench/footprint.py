"""What a server takes when it starts, when it idles, and while it transfers."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import requests
from bench.accounting import MemorySampler, is_git, memory_of, peak_resident_mib, settle
from bench.errors import BenchError
from bench.goals import AtMost
from bench.measure import Measure, Row, Tools, Values
from bench.servers import GitpatProxy, Server
from bench.transfers import stalled

_STALLED_SECONDS = 3.0


def footprints(tools: Tools) -> list[Measure]:
    """Return these measures, in the table's order."""
    return [_stalled(tools), _start(), _help(tools), *_memory(tools)]


def _stalled(tools: Tools) -> Measure:
    """What clients hold that asked for a large clone and do not read it."""
    large, number = tools.repositories.large, tools.effort.stalled
    body = requests.clone(tools.folder(large))

    def run(server: Server) -> Values:
        try:
            with stalled(server, requests.post(server, large, body), number):
                time.sleep(_STALLED_SECONDS)
                processes = server.accounting.processes()
                own = memory_of(each for each in processes if not is_git(each))
                of_git = memory_of(filter(is_git, processes))
        finally:
            settle(server.accounting)
        return own.pss + of_git.anonymous, own.pss + of_git.pss, own.uss + of_git.uss

    label = f"{number} stalled clones, {tools.megabytes(large)}, with git"
    rows = (
        Row(f"{label}: PSS without packs", "MiB", goal=AtMost(120)),
        Row(f"{label}: PSS", "MiB"),
        Row(f"{label}: USS", "MiB"),
    )
    return Measure("stalled clones", rows, run, fresh=True)


def _memory(tools: Tools) -> list[Measure]:
    """In a server that has just started: what it once needed stays with a process, and would hide
    that a small transfer needs less than a large one.
    """
    repositories, sizes, git = tools.repositories, tools.repositories.sizes, tools.git
    commits, large = tools.megabytes(repositories.commits), tools.megabytes(repositories.large)
    return [
        _memory_of(f"memory, clone, {commits}", lambda server: git.clone(server, repositories.commits)),
        _memory_of(f"memory, clone, {large}", lambda server: git.clone(server, repositories.large)),
        _memory_of(
            f"memory, push, {sizes.small_push_mib} MiB",
            lambda server: git.push(server, repositories.small_push),
        ),
        _memory_of(
            f"memory, push, {sizes.large_push_mib} MiB",
            lambda server: git.push(server, repositories.large_push),
        ),
    ]


def _memory_of(name: str, action: Callable[[Server], float]) -> Measure:
    def run(server: Server) -> Values:
        with MemorySampler(server.accounting) as memory:
            action(server)
        resident = peak_resident_mib(server.main_process_id) if isinstance(server, GitpatProxy) else None
        return memory.own, resident, memory.all

    rows = (
        Row(f"{name}: own (PSS)", "MiB"),
        Row(f"{name}: own (peak RSS)", "MiB"),
        Row(f"{name}: with git", "MiB"),
    )
    return Measure(name, rows, run, fresh=True)


def _start() -> Measure:
    def run(server: Server) -> Values:
        return server.ready_seconds, memory_of(server.accounting.processes()).pss

    rows = (
        Row("start to ready", "s", goal=AtMost(1.0)),
        Row("start, idle memory: PSS", "MiB", goal=AtMost(60)),
    )
    return Measure("start", rows, run, fresh=True)


def _help(tools: Tools) -> Measure:
    name = "gitpat-proxy --help"
    command = [str(Path(sys.executable).with_name("gitpat-proxy")), "--help"]

    def run(server: Server) -> Values:
        if not isinstance(server, GitpatProxy):
            return (None,)
        begin = time.perf_counter()
        for _ in range(tools.effort.repetitions):
            if subprocess.run(command, capture_output=True, check=False).returncode != 0:
                raise BenchError(f"{name} failed")
        return ((time.perf_counter() - begin) / tools.effort.repetitions,)

    return Measure("help", (Row(name, "s", goal=AtMost(0.3)),), run)
