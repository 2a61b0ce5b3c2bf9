"""`make bench`: gitpat-proxy and Apache, nginx and lighttpd in front of the same `git http-backend`."""

import argparse
import shlex
import sys

from bench import document
from bench.arguments import positive
from bench.errors import BenchError
from bench.promises import promises
from bench.run import Plan, Results, run, say
from bench.surroundings import described
from bench.table import EXPLANATION, as_markdown, as_text, cells_of, summary


def main() -> None:
    arguments = _arguments()
    plan = Plan(arguments.rounds, arguments.quick, frozenset(arguments.only))
    try:
        results = _measured(plan)
        surroundings = described(shlex.join([".venv/bin/python", "-m", "bench", *sys.argv[1:]]))
        print(_text(results, surroundings))
        if arguments.write:
            document.write(_markdown(results, surroundings))
    except BenchError as error:
        say(f"bench: {error}")
        sys.exit(1)


def _measured(plan: Plan) -> Results:
    """Measure; raise BenchError where what was asked for leaves nothing to print."""
    results = run(plan)
    if not results.servers or not results.rows:
        raise BenchError("there is nothing to measure")
    return results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--rounds", type=positive, default=5, help="how often each is measured (%(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small repositories and short loads, to try it out"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="a server (gitpat-proxy, Apache, nginx + fcgiwrap, lighttpd) or what measures begin with "
        "(advertisement, listing, 401, wrong, ls-remote, streaming, clone, equal, push, stalled, start, "
        "help, memory, decision); may be repeated",
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    if arguments.write and (arguments.only or arguments.quick):
        parser.error("--write needs the whole run, without --only and --quick")
    return arguments


def _text(results: Results, surroundings: list[str]) -> str:
    parts = [as_text(cells_of(results)), EXPLANATION, *surroundings, *results.remarks]
    return "\n".join(["", *parts, "", summary(results), *promises(results)])


def _markdown(results: Results, surroundings: list[str]) -> str:
    facts = [*surroundings, *results.remarks, summary(results), *promises(results)]
    return "\n".join(
        [*(f"- {fact}" for fact in facts), "", EXPLANATION, "", as_markdown(cells_of(results))]
    )


if __name__ == "__main__":
    main()
