"""What a run prints."""

import os
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

import psutil

from bench.soak.ending import (
    LEFT_SECONDS,
    Log,
    audit_of,
    broken_promises,
    broken_repositories,
    has_ended,
    left_over,
    quarantines,
)
from bench.soak.gauge import NAMES, Figures, Gauge, growth_per_hour, mean
from bench.soak.ledger import Ledger
from bench.soak.site import Site
from bench.soak.work import Promises
from tests.support.secrets_seen import SEEN

_SHARE = 10
"""The start and the end of the load are a tenth of its samples each."""


def progress(tenth: int, seconds: float, ledger: Ledger, gauge: Gauge) -> str:
    """Return a line that tells how far it is."""
    parts = [
        f"{tenth * 10:3} %  {seconds:5.0f} s",
        f"load average {os.getloadavg()[0]:.1f}",
        f"{ledger.operations} operations, {ledger.failures} unexpected",
    ]
    with suppress(psutil.Error, AssertionError):
        sample = gauge.look()
        parts += [_short("proxy", sample.front), _short("upstream", sample.upstream)]
    return "; ".join(parts)


def _short(name: str, of: Figures) -> str:
    return (
        f"{name}: RSS {of.rss:.1f} USS {of.uss:.1f} MiB, {of.descriptors:.0f} descriptors, "
        f"{of.threads:.0f} threads, {of.git:.0f} git with {of.git_rss:.0f} MiB"
    )


class Report:
    """Looks at what is left once the load has stopped, and prints all; counts what should not be."""

    def __init__(self, site: Site, ledger: Ledger, promises: Promises, gauge: Gauge) -> None:
        self._site, self._ledger, self._promises = site, ledger, promises
        self._gauge = gauge
        self._failures = ledger.failures

    def printed(self) -> int:
        """Print it, end the proxies, and return how many things are not as they should be."""
        self._print_operations()
        ended = [proxy.log for proxy in self._site.proxies if has_ended(proxy)]
        self._print_problems("proxies that have ended by themselves", ended)
        if ended:
            return self._failures
        self._print_memory()
        processes, descriptors = left_over(self._site)
        self._print_problems(f"processes left {LEFT_SECONDS:.0f} s after the load", processes)
        self._print_problems(f"pipes and sockets left {LEFT_SECONDS:.0f} s after the load", descriptors)
        self._end_the_proxies()
        self._print_logs()
        self._print_problems("repositories that git fsck finds broken", broken_repositories(self._site))
        self._print_problems(
            "branches that are not as the last acknowledged push left them",
            broken_promises(self._site, self._promises),
        )
        for proxy in self._site.proxies:
            text, is_good = audit_of(proxy)
            print(f"audit verify: {text}")
            self._failures += not is_good
        left = quarantines(self._site)
        print(f"quarantines of pushes left for git gc: {len(left)} {' '.join(left)}")
        self._print_problems("places in which a secret was written", SEEN.leaks())
        print(f"\n{self._failures or 'Nothing'} unexpected.")
        return self._failures

    def _print_operations(self) -> None:
        print(f"\n{'operation':44} {'done':>6} {'longest':>8}  refused or ended as expected; UNEXPECTED")
        for kind, tally in sorted(self._ledger.tallies.items()):
            longest = f"{tally.longest_seconds:.2f} s" if tally.longest_seconds else ""
            print(f"{kind:44} {tally.done or '':>6} {longest:>8}  {_counts(tally.refused)}", end="")
            print(f"  UNEXPECTED: {_counts(tally.unexpected)}" if tally.unexpected else "")
        print(f"{self._ledger.operations} operations, {self._ledger.failures} of them unexpected")
        for message in self._ledger.messages:
            print(f"- {message}")

    def _print_memory(self) -> None:
        measured, after = self._gauge.measured(), self._gauge.look()
        share = max(1, len(measured) // _SHARE)
        start, end = measured[:share], measured[-share:]
        titles = "".join(f"{title:>9}" for title in ("before", "start", "end", "after"))
        print(f"\n{'':28}{titles}{'growth in an hour':>21}{'in its second half':>21}")
        for name in ("front", "upstream"):
            rows = [
                getattr(self._gauge.before, name),
                mean([getattr(sample, name) for sample in start]),
                mean([getattr(sample, name) for sample in end]),
                getattr(after, name),
            ]
            for field, title in NAMES.items():
                values = "".join(f"{getattr(row, field):9.1f}" for row in rows)
                points = [(s.at, float(getattr(getattr(s, name), field))) for s in measured]
                growth = f"{_growth(points):>21}{_growth(points[len(points) // 2 :]):>21}"
                print(f"{name:9}{title:19}{values}{growth}")
        print(
            "before: idle, before the load; start, end: means under load, the first after the warm-up; "
            f"after: idle, {LEFT_SECONDS:.0f} s after the load\n"
        )

    def _end_the_proxies(self) -> None:
        for proxy in self._site.proxies:
            if (code := proxy.stop(signal.SIGTERM)) != 0:
                self._failures += 1
                print(f"SIGTERM: a proxy ended with {code}")

    def _print_logs(self) -> None:
        for name, proxy in (("front", self._site.front), ("upstream", self._site.upstream)):
            log = Log(proxy)
            print(f"log of {name}, refusals by code: {_counts(log.codes)}")
            print(f"log of {name}, by event: {_counts(log.events)}")
            self._print_problems(f"lines in the log of {name} that should not be there", log.failures)

    def _print_problems(self, title: str, problems: Iterable[str]) -> None:
        found: Sequence[str] = list(problems)
        self._failures += len(found)
        print(f"{title}: {len(found) or 'none'}")
        for problem in found[:20]:
            print(f"- {problem[-2000:]}")


def _growth(points: Sequence[tuple[float, float]]) -> str:
    slope, error = growth_per_hour(points)
    return f"{slope:+.1f} ± {error:.1f}"


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{cause} {number}" for cause, number in counter.most_common())
