"""What is measured: each a function from a server to the figures of its rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench import requests
from bench.clients import Question, load
from bench.decisions import decision
from bench.footprint import footprints
from bench.goals import Goal, Ratio, share
from bench.measure import Measure, Row, Tools, Values, counted, warm_up, with_cpu
from bench.questions import advertisement, in_protocol_2, listing, refused, signed
from bench.servers import Apache, Server
from bench.transfers import stream, together


def measures(tools: Tools) -> list[Measure]:
    """Return all of them, in the table's order."""
    return [
        *_loads(tools),
        *_listings(tools),
        _streaming(tools),
        *_clones(tools),
        *_together(tools),
        *_pushes(tools),
        *footprints(tools),
        decision(tools),
    ]


# --- requests a second ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Load:
    """A question, what it is to reach, and by whom it is asked."""

    name: str
    question: Question
    speed: Goal | None
    cpu: Goal | None = None
    secret: Callable[[Server], str | None] = lambda server: server.secret


def _loads(tools: Tools) -> list[Measure]:
    repositories = tools.repositories
    small, many = advertisement(repositories.small), advertisement(repositories.references)
    number = f"{repositories.sizes.references:,} refs"
    loads = [
        _Load("advertisement", in_protocol_2(small), Ratio(40), share(1 / 40)),
        _Load("advertisement, protocol 0", small, Ratio(40), share(1 / 40)),
        _Load(f"advertisement, {number}, protocol 0", many, Ratio(20)),
        _Load("listing of refs, protocol 2", listing(repositories.small), Ratio(20)),
        _Load(f"listing of {number}, protocol 2", listing(repositories.references), Ratio(20)),
        _Load("401 challenge", refused(small), Ratio(0.8, Apache.name), secret=lambda _server: None),
        _Load("wrong token", refused(small), Ratio(15), secret=lambda server: server.wrong_secret),
    ]
    return [_load(tools, each) for each in loads]


def _load(tools: Tools, what: _Load) -> Measure:
    def run(server: Server) -> Values:
        secret = what.secret(server)
        question = signed(what.question, server, secret) if secret else what.question
        result = load(server, question, tools.effort.wrk_seconds)
        return result.requests_per_second, counted(server, result.cpu_milliseconds)

    rows = (
        Row(what.name, "requests/s", more_is_better=True, goal=what.speed),
        Row(f"{what.name}: server CPU", "ms/request", goal=what.cpu),
    )
    return Measure(what.name, rows, run)


# --- git itself, and readers that do nothing with what they read ----------------------------------


def _listings(tools: Tools) -> list[Measure]:
    repositories, git = tools.repositories, tools.git
    return [
        _timed(
            "ls-remote, small",
            lambda server: git.list_references(server, repositories.small),
            tools.effort.repetitions * 5,
            share(0.7),
        ),
        _timed(
            f"ls-remote, {repositories.sizes.references:,} refs",
            lambda server: git.list_references(server, repositories.references),
            tools.effort.repetitions,
        ),
    ]


def _pushes(tools: Tools) -> list[Measure]:
    repositories, git = tools.repositories, tools.git
    sizes, several = repositories.sizes, tools.effort.repetitions
    return [
        _timed(
            "push, 20 commits",
            lambda server: git.push(server, tools.folder(repositories.small)),
            several * 2,
            share(0.95),
        ),
        _timed(
            f"push, {sizes.small_push_mib} MiB",
            lambda server: git.push(server, repositories.small_push),
            several,
            share(0.95),
        ),
        _timed(
            f"push, {sizes.large_push_mib} MiB",
            lambda server: git.push(server, repositories.large_push),
            1,
            share(1.0),
        ),
    ]


def _timed(
    name: str, action: Callable[[Server], float], repetitions: int, goal: Goal | None = None
) -> Measure:
    """Do it so many times, one after the other; the figures are those of one."""

    def run(server: Server) -> Values:
        seconds, cpu = with_cpu(server, lambda s: sum(action(s) for _ in range(repetitions)))
        return seconds / repetitions, None if cpu is None else cpu / repetitions

    return Measure(name, (Row(name, "s", goal=goal), Row(f"{name}: server CPU", "s")), run)


def _streaming(tools: Tools) -> Measure:
    """The server's part of a clone alone: no client that works beside it on the same cores."""
    large = tools.repositories.large
    body = requests.clone(tools.folder(large))

    def action(server: Server) -> float:
        return stream(server, requests.post(server, large, body))

    row = Row(f"streaming a clone, {tools.megabytes(large)}", "MB/s", more_is_better=True)
    # More turns than the others, since something is promised of it and others disturb it easily.
    return replace(_first_and_second(tools, row, action, (Ratio(1.3), Ratio(3))), turns=2)


def _clones(tools: Tools) -> list[Measure]:
    repositories = tools.repositories
    return [
        replace(_clone(tools, repositories.commits), turns=tools.effort.repetitions),
        _clone(tools, repositories.large),
    ]


def _clone(tools: Tools, repository: str) -> Measure:
    row = Row(f"clone, {tools.megabytes(repository)}", "s")
    goals = share(0.95), share(0.9)
    return _first_and_second(tools, row, lambda server: tools.git.clone(server, repository), goals)


def _first_and_second(
    tools: Tools, row: Row, action: Callable[[Server], float], goals: tuple[Goal, Goal]
) -> Measure:
    """Nothing of a first time is left from an earlier round: the server is started anew."""

    def run(server: Server) -> Values:
        warm_up(tools, server)
        return *with_cpu(server, action), *with_cpu(server, action)

    first, second = (f"{row.label}, {time} time" for time in ("first", "second"))
    rows = (
        replace(row, label=first, goal=goals[0]),
        Row(f"{first}: server CPU", "s"),
        replace(row, label=second, goal=goals[1]),
        Row(f"{second}: server CPU", "s"),
    )
    return Measure(row.label, rows, run, fresh=True)


def _together(tools: Tools) -> list[Measure]:
    """Equal requests at once, as a pipeline's jobs make them; what they cost the server is compared."""
    commits = tools.repositories.commits
    folder, size = tools.folder(commits), tools.megabytes(commits)
    return [
        _equal(tools, f"clones at once, {size}", requests.clone(folder), share(0.15)),
        _equal(tools, f"clones at once, depth 1, {size}", requests.shallow_clone(folder), share(0.15)),
        _equal(tools, "fetches at once, one commit behind", requests.update(folder), share(0.3)),
    ]


def _equal(tools: Tools, what: str, body: str, goal: Goal) -> Measure:
    repository, number = tools.repositories.commits, tools.effort.together
    name = f"equal {what}"

    def run(server: Server) -> Values:
        warm_up(tools, server)
        request = requests.post(server, repository, body)
        return with_cpu(server, lambda s: together(s, request, number))

    label = f"{number} {name}"
    rows = Row(label, "s"), Row(f"{label}: server CPU", "s", goal=goal)
    return Measure(name, rows, run, fresh=True)
