"""One interleaved run: in each round each measure is taken of each server, in a changing order.

So what the machine does besides, for a while, falls on all of them.
"""

import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench.accounting import OtherLoad
from bench.clients import Git
from bench.errors import BenchError, MissingError
from bench.measure import FULL_EFFORT, QUICK_EFFORT, Measure, Row, Tools, Values
from bench.measures import measures
from bench.repositories import FULL, QUICK, Repositories, repositories
from bench.servers import SERVERS, GitpatProxy, Server
from bench.surroundings import WORK

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Plan:
    """What the command line asks for."""

    rounds: int
    quick: bool
    only: frozenset[str]

    def wants_server(self, name: str) -> bool:
        """Servers and measures are named alike; naming only measures means all servers."""
        named = self.only & {server.name for server in SERVERS}
        return not named or name in named

    def wants_measure(self, name: str) -> bool:
        named = self.only - {server.name for server in SERVERS}
        return not named or any(name.startswith(word) for word in named)


@dataclass
class Results:
    """The figures: for each row and server one for each round, None where there is none."""

    servers: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    figures: dict[tuple[Row, str], list[float | None]] = field(default_factory=lambda: defaultdict(list))

    def add(self, measure: Measure, server: str, values: Values) -> None:
        for row, value in zip(measure.rows, values, strict=True):
            self.figures[row, server].append(value)

    def remark(self, text: str) -> None:
        """Say it now, and once beside the table."""
        if text not in self.remarks:
            self.remarks.append(text)
            say(text)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(plan: Plan) -> Results:
    """Measure; whatever happens, nothing of it is left running."""
    sizes = QUICK if plan.quick else FULL
    say(f"The repositories are in {WORK}; the first run makes them ...")
    WORK.mkdir(exist_ok=True)
    there = repositories(sizes)
    results = Results()
    with run_folder() as folder, ExitStack() as stack:
        stack.enter_context(undisturbed_end())
        servers = list(_start(plan, folder, there, stack, results))
        git = Git(folder, there)
        tools = Tools(there, git, QUICK_EFFORT if plan.quick else FULL_EFFORT)
        wanted = [measure for measure in measures(tools) if plan.wants_measure(measure.name)]
        results.servers = [server.name for server in servers]
        results.rows = [row for measure in wanted for row in measure.rows]
        others = OtherLoad()
        for round_number in range(plan.rounds):
            say(f"\nRound {round_number + 1} of {plan.rounds}")
            for index, measure in enumerate(wanted):
                for turn in range(measure.turns):
                    _take(measure, rotated(servers, round_number + index + turn), results, others)
        results.remark(
            f"Beside the bench, its clients and servers, others kept {others.cores:.2f} cores busy "
            "on average."
        )
    return results


def _start(
    plan: Plan, folder: Path, there: Repositories, stack: ExitStack, results: Results
) -> Iterator[Server]:
    """Start the servers; a peer that is not there, or does not work, is named and left out."""
    for number, kind in enumerate(SERVERS):
        if not plan.wants_server(kind.name):
            continue
        try:
            server = kind(folder / f"server-{number}", there.served)
            stack.callback(server.close)
            server.start()
            server.check(there.small)
        except BenchError as error:
            if kind is GitpatProxy:
                raise
            results.remark(f"Left out: {kind.name}: {error}.")
        else:
            if not server.cpu_is_counted:
                results.remark(f"Not counted without a control group: the CPU of {kind.name}.")
            yield server


def _take(measure: Measure, servers: Sequence[Server], results: Results, others: OtherLoad) -> None:
    said = []
    nothing: Values = (None,) * len(measure.rows)
    for server in servers:
        try:
            if measure.fresh:
                server.restart()
            with others.watching(server.accounting):
                values = measure.run(server)
        except MissingError as error:
            results.remark(f"Some rows are empty: {error}.")
            values = nothing
        except BenchError as error:
            results.remark(f"No figure: {measure.name}, {server.name}: {error}.")
            values = nothing
        results.add(measure, server.name, values)
        said.append(f"{server.name} {'?' if values[0] is None else f'{values[0]:.4g}'}")
    say(f"  {measure.name} ({measure.rows[0].unit}): {', '.join(said)}")


def rotated(items: Sequence[_Item], by: int) -> list[_Item]:
    """Return them in the same order, begun so many further on."""
    first = by % len(items) if items else 0
    return [*items[first:], *items[:first]]


@contextmanager
def run_folder() -> Iterator[Path]:
    """Give a new folder below the bench's own, and remove it with all that is in it."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=WORK))
    # Apache's processes are somebody else where root runs the bench.
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def undisturbed_end() -> Iterator[None]:
    """Being asked to end counts as an error, so that all is ended in order; once more changes nothing.

    Entered before the servers are started, it is left only after they have ended.
    """

    def end(number: int, _frame: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, lambda *_: None)
        raise SystemExit(128 + number)

    before = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
