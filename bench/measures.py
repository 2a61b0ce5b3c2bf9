"""What is measured: each a function from a server to the figures of its rows."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.accounting import MemorySampler, peak_resident_mib
from bench.clients import Git, load, stream
from bench.repositories import Repositories
from bench.servers import GitpatProxy, Server

Values = tuple[float | None, ...]
"""A figure for each row; None where this server has none."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    label: str
    unit: str
    more_is_better: bool = False


@dataclass(frozen=True)
class Measure:
    """`name` is what `--only` takes. `fresh`: the server is started anew before it. `turns`: how
    often all servers have their turn in a round.
    """

    name: str
    rows: tuple[Row, ...]
    run: Callable[[Server], Values]
    fresh: bool = False
    turns: int = 1


@dataclass(frozen=True)
class Tools:
    """What the measures work with."""

    repositories: Repositories
    git: Git
    wrk_seconds: float
    repetitions: int


def measures(tools: Tools) -> list[Measure]:
    """Return all of them, in the table's order."""
    return [
        *_loads(tools),
        *_listings(tools),
        *_clones(tools),
        _streaming(tools),
        *_pushes(tools),
        *_memory(tools),
    ]


# --- requests a second ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Question:
    """A GET of a repository's advertisement, and the status that answers it."""

    repository: str
    credentials: Callable[[Server], dict[str, str]]
    status: int = 200
    protocol: str = ""


def _loads(tools: Tools) -> list[Measure]:
    repositories = tools.repositories
    small, references = repositories.small, repositories.references
    number = f"{repositories.sizes.references:,} refs"
    return [
        _load(tools, "advertisement", _Question(small, _right, protocol="version=2")),
        _load(tools, f"advertisement, {number}, protocol 0", _Question(references, _right)),
        _load(tools, "401 challenge", _Question(small, _none, status=401)),
        _load(tools, "wrong token", _Question(small, _wrong, status=401)),
    ]


def _load(tools: Tools, name: str, question: _Question) -> Measure:
    path = f"{question.repository}/info/refs?service=git-upload-pack"
    protocol = {"GIT_PROTOCOL": question.protocol} if question.protocol else {}

    def run(server: Server) -> Values:
        headers = question.credentials(server) | protocol
        result = load(server, path, headers, question.status, tools.wrk_seconds)
        return result.requests_per_second, _counted(server, result.cpu_milliseconds)

    return Measure(
        name,
        (Row(name, "requests/s", more_is_better=True), Row(f"{name}: server CPU", "ms/request")),
        run,
    )


def _right(server: Server) -> dict[str, str]:
    return {"AUTHORIZATION": server.authorization(server.secret)}


def _wrong(server: Server) -> dict[str, str]:
    return {"AUTHORIZATION": server.authorization(server.wrong_secret)}


def _none(_server: Server) -> dict[str, str]:
    return {}


# --- git itself -----------------------------------------------------------------------------------


def _listings(tools: Tools) -> list[Measure]:
    repositories = tools.repositories
    references = f"{repositories.sizes.references:,} refs"
    return [
        _timed(
            "ls-remote, small",
            lambda server: tools.git.list_references(server, repositories.small),
            tools.repetitions * 5,
        ),
        _timed(
            f"ls-remote, {references}",
            lambda server: tools.git.list_references(server, repositories.references),
            tools.repetitions,
        ),
    ]


def _clones(tools: Tools) -> list[Measure]:
    names = tools.repositories.commits, tools.repositories.large
    repetitions = tools.repetitions, 1
    return [
        _timed(
            f"clone, {_megabytes(tools, name)}",
            lambda server, name=name: tools.git.clone(server, name),
            number,
        )
        for name, number in zip(names, repetitions, strict=True)
    ]


def _pushes(tools: Tools) -> list[Measure]:
    repositories = tools.repositories
    return [
        _timed(
            f"push, {repositories.sizes.small_push_mib} MiB",
            lambda server: tools.git.push(server, repositories.small_push),
            tools.repetitions,
        ),
        _timed(
            f"push, {repositories.sizes.large_push_mib} MiB",
            lambda server: tools.git.push(server, repositories.large_push),
            1,
        ),
    ]


def _timed(name: str, action: Callable[[Server], float], repetitions: int) -> Measure:
    """Do it so many times, one after the other; the figures are those of one."""

    def run(server: Server) -> Values:
        before = server.cpu_seconds()
        seconds = sum(action(server) for _ in range(repetitions))
        cpu = server.cpu_seconds() - before
        return seconds / repetitions, _counted(server, cpu / repetitions)

    return Measure(name, (Row(name, "s"), Row(f"{name}: server CPU", "s")), run)


def _streaming(tools: Tools) -> Measure:
    """The server's part of a clone alone: no client that works beside it on the same cores."""
    repositories = tools.repositories
    name = f"streaming a clone, {_megabytes(tools, repositories.large)}"

    def run(server: Server) -> Values:
        before = server.cpu_seconds()
        speed = stream(server, repositories, repositories.large)
        return speed, _counted(server, server.cpu_seconds() - before)

    rows = Row(name, "MB/s", more_is_better=True), Row(f"{name}: server CPU", "s")
    # More turns than the others, since something is promised of it and others disturb it easily.
    return Measure(name, rows, run, turns=4)


# --- memory ---------------------------------------------------------------------------------------


def _memory(tools: Tools) -> list[Measure]:
    """In a server that has just started: what it once needed stays with a process, and would hide
    that a small transfer needs less than a large one.
    """
    repositories, sizes, git = tools.repositories, tools.repositories.sizes, tools.git
    commits, large = _megabytes(tools, repositories.commits), _megabytes(tools, repositories.large)
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


def _counted(server: Server, cpu: float | None) -> float | None:
    """A figure that leaves out the CGI programs would be wrong by most of it."""
    return cpu if server.cpu_is_counted else None


def _megabytes(tools: Tools, name: str) -> str:
    return f"{tools.repositories.megabytes(name):.0f} MB"
