"""Run the hypothesis tests for long: each for so many seconds, with examples that are new each time.

`make test` runs the same ones for a moment. Those that need a fixture, a proxy say, are left to it.
"""

import argparse
import inspect
import multiprocessing
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, is_hypothesis_test, settings

TESTS = Path(__file__).parent

settings.register_profile(
    "fuzz",
    max_examples=200,  # of a round; rounds are repeated until the time is over
    derandomize=False,
    # Examples are small: what takes so long never ends, or takes the square of its length.
    deadline=timedelta(seconds=20),
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Run:
    """What became of a target; `failure` is empty if none of the examples failed."""

    target: str
    examples: int
    seconds: float
    failure: str

    def __str__(self) -> str:
        outcome = "FAILED" if self.failure else "ok"
        line = f"{self.examples:>10,} examples {self.seconds:>6.0f} s  {outcome:<6}  {self.target}"
        return f"{line}\n{self.failure}".rstrip()


def targets(words: Sequence[str]) -> Iterator[str]:
    """Name the targets that contain one of the words, in the words' order; all if there are none."""
    names = [
        f"{module.__name__}:{name}"
        for module in _modules()
        for name, function in vars(module).items()
        if is_hypothesis_test(function) and not inspect.signature(function).parameters
    ]
    seen: set[str] = set()
    for word in words or [""]:
        yield from (name for name in names if word in name and name not in seen)
        seen.update(name for name in names if word in name)


def _modules() -> Iterator[ModuleType]:
    """Import what uses hypothesis, and nothing else: the others need more."""
    for file in sorted(TESTS.rglob("test_*.py")):
        if "from hypothesis" in file.read_text(encoding="utf-8"):
            yield import_module(".".join(file.relative_to(TESTS.parent).with_suffix("").parts))


def fuzz(target: str, seconds: float) -> Run:
    """Run a target until the time is over, or an example fails."""
    settings.load_profile("fuzz")
    warnings.simplefilter("error")
    module_name, _, name = target.partition(":")
    test = getattr(import_module(module_name), name)
    examples = 0

    def count() -> None:
        nonlocal examples
        examples += 1

    test.hypothesis.inner_test = _counted(test.hypothesis.inner_test, count)
    began, failure = time.monotonic(), ""
    while not failure and time.monotonic() - began < seconds:
        try:
            test()
        except Exception:
            failure = traceback.format_exc()
    return Run(target, examples, time.monotonic() - began, failure)


def _counted(test: Callable[..., Any], count: Callable[[], None]) -> Callable[..., Any]:
    @wraps(test)
    def counted(*arguments: Any, **named: Any) -> Any:
        count()
        return test(*arguments, **named)

    return counted


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="for each target")
    parser.add_argument("--processes", type=int, default=1, help="so many targets at once")
    parser.add_argument("words", nargs="*", help="only targets with one of these in their name")
    options = parser.parse_args()
    names = list(targets(options.words))
    if not names:
        parser.error("no target has such a name")
    context = multiprocessing.get_context("spawn")
    failed = False
    # A process for each: what one target leaves in memory does not slow down the next.
    with ProcessPoolExecutor(options.processes, context, max_tasks_per_child=1) as pool:
        for run in pool.map(partial(fuzz, seconds=options.seconds), names):
            print(run, flush=True)  # noqa: T201 - a command prints
            failed = failed or bool(run.failure)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
