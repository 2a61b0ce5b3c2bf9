"""`python -m bench.sizes`: what a request costs the proxy, with git, as what there is grows."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench import document
from bench.arguments import positive
from bench.chart import draw
from bench.errors import BenchError
from bench.growth import Dimension, dimensions
from bench.numbers import NOTHING, number, spread
from bench.run import rotated, run_folder, say, undisturbed_end
from bench.servers import Server
from bench.surroundings import PROJECT, WORK, described
from bench.table import Cells, as_markdown, as_text

Figures = dict[int, list[tuple[float, ...]]]
"""For each size what each round measured: a figure for each of the dimension's curves."""

_CHART = "cost-by-size.svg"
_FLAT = 1.2


def main() -> None:
    arguments = _arguments()
    WORK.mkdir(exist_ok=True)
    try:
        results = [(each, _measured(each, arguments)) for each in _wanted(arguments)]
        surroundings = described(shlex.join([".venv/bin/python", "-m", "bench.sizes", *sys.argv[1:]]))
        cells = _cells(results)
        print("\n".join(["", as_text(cells), *surroundings]))
        chart = (PROJECT / "docs" if arguments.write else WORK) / _CHART
        draw(results, chart)
        say(f"The chart is in {chart}.")
        if arguments.write:
            document.write(_markdown(cells, surroundings), "python -m bench.sizes")
    except BenchError as error:
        say(f"bench: {error}")
        sys.exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.sizes", description=__doc__)
    parser.add_argument(
        "--rounds", type=positive, default=5, help="how often each is measured (%(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to try it out")
    parser.add_argument("--most", type=positive, help="leave out what is larger, whatever it is")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="how that begins which grows (tokens, repositories, audit, refs, equal, MiB); may be "
        "repeated",
    )
    parser.add_argument("--write", action="store_true", help="put the table and the chart into docs/")
    arguments = parser.parse_args()
    if arguments.write and (arguments.only or arguments.quick or arguments.most):
        parser.error("--write needs the whole run, without --only, --quick and --most")
    return arguments


def _wanted(arguments: argparse.Namespace) -> list[Dimension]:
    """Return what the command line asks for; raise BenchError if it is nothing."""
    words = tuple(arguments.only) or ("",)
    wanted = [each for each in dimensions(quick=arguments.quick) if each.name.startswith(words)]
    if not wanted:
        raise BenchError("nothing that grows is called so")
    return wanted


def _measured(dimension: Dimension, arguments: argparse.Namespace) -> Figures:
    """Measure all sizes in turn, as often as there are rounds; each has a server of its own."""
    sizes = dimension.quick_sizes if arguments.quick else dimension.sizes
    sizes = tuple(size for size in sizes if size <= (arguments.most or size))
    figures: Figures = {size: [] for size in sizes}
    say(f"\n{dimension.name}: making {', '.join(f'{size:,}' for size in sizes)} ...")
    with run_folder() as folder, ExitStack() as stack:
        stack.enter_context(undisturbed_end())
        servers = [(size, _started(dimension, size, folder, stack)) for size in sizes]
        for round_number in range(arguments.rounds):
            for size, server in rotated(servers, round_number):
                costs = dimension.cost(server, size)
                figures[size].append(costs)
                said = ", ".join(map(_told, dimension.curves, costs))
                say(f"  {size:,} {dimension.name}: {said} ({dimension.unit})")
    return figures


def _started(dimension: Dimension, size: int, folder: Path, stack: ExitStack) -> Server:
    server = dimension.proxy(size, folder / f"server-{size}")
    stack.callback(server.close)
    server.start()
    return server


def _told(curve: str, cost: float) -> str:
    return f"{curve} {number(cost)}"


def _cells(results: Sequence[tuple[Dimension, Figures]]) -> Cells:
    head = ["what grows", "how much", "cost", "unit", "median", "to the least", "goal", "reached"]
    return [head, *(line for dimension, figures in results for line in _lines(dimension, figures))]


def _lines(dimension: Dimension, figures: Figures) -> Cells:
    lines = []
    for curve, label in enumerate(dimension.curves):
        least = median(costs[curve] for costs in figures[min(figures)])
        for size, rounds in figures.items():
            costs = [each[curve] for each in rounds]
            ratio = median(costs) / least
            lines.append(
                [
                    dimension.name,
                    f"{size:,}",
                    label,
                    dimension.unit,
                    spread(costs),
                    f"{ratio:.2f}",
                    f"≤ {_FLAT}" if dimension.flat else NOTHING,
                    ("yes" if ratio <= _FLAT else "NO") if dimension.flat else NOTHING,
                ]
            )
    return lines


def _markdown(cells: Cells, surroundings: Sequence[str]) -> str:
    facts = "\n".join(f"- {fact}" for fact in surroundings)
    picture = f"![What a request costs, by how much there is]({_CHART})"
    return f"{facts}\n\n{picture}\n\n{as_markdown(cells)}"


if __name__ == "__main__":
    main()
