"""Memory, descriptors, threads and children of both proxies, sample by sample."""

import math
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean

import psutil

from bench.accounting import is_git
from bench.soak.site import Site
from tests.support.proxy import Proxy

MIB = 1024 * 1024
_FORKING_SECONDS = 0.5


@dataclass(frozen=True)
class Figures:
    """Of one proxy with its workers; memory in MiB. `git`: how many processes of git run below it."""

    rss: float = 0
    uss: float = 0
    descriptors: float = 0
    threads: float = 0
    git: float = 0
    git_rss: float = 0


NAMES = {
    "rss": "RSS (MiB)",
    "uss": "USS (MiB)",
    "descriptors": "descriptors",
    "threads": "threads",
    "git": "git processes",
    "git_rss": "RSS of git (MiB)",
}


@dataclass(frozen=True)
class Sample:
    """What was there at a moment. `process_id`: of the front, which may be killed and started again."""

    at: float
    process_id: int
    front: Figures
    upstream: Figures


def figures(proxy: Proxy) -> Figures:
    """Raises psutil.Error if the proxy has just ended."""
    process = proxy.process
    if process is None:
        raise psutil.NoSuchProcess(0)
    own, of_git = [psutil.Process(process.pid)], []
    for child in own[0].children(recursive=True):
        with suppress(psutil.Error):
            if is_git(child.pid):
                of_git.append(child.memory_info().rss / MIB)
            # A child that has not become git yet shares its parent's memory.
            elif time.time() - child.create_time() > _FORKING_SECONDS:
                own.append(child)
    memory = [one.memory_full_info() for one in own]
    return Figures(
        rss=sum(one.rss for one in memory) / MIB,
        uss=sum(one.uss for one in memory) / MIB,
        descriptors=sum(one.num_fds() for one in own),
        threads=sum(one.num_threads() for one in own),
        git=len(of_git),
        git_rss=sum(of_git),
    )


class Gauge:
    """Takes samples in a thread of its own."""

    def __init__(self, site: Site, seconds_between: float, warm_up_seconds: float) -> None:
        self._samples: list[Sample] = []
        self._site = site
        self._seconds = seconds_between
        self._warm_up_seconds = warm_up_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gauge", daemon=True)

    def start(self) -> None:
        """Begin; there is no load yet."""
        self.before = self.look()
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def look(self) -> Sample:
        front, upstream = (figures(proxy) for proxy in self._site.proxies)
        return Sample(time.monotonic(), self._site.front.pid, front, upstream)

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            with suppress(psutil.Error, AssertionError):
                self._samples.append(self.look())

    def measured(self) -> list[Sample]:
        """Return those after the warm-up, of the process that lived longest, as each begins anew."""
        lives: dict[int, list[Sample]] = {}
        for sample in self._samples:
            lives.setdefault(sample.process_id, []).append(sample)
        longest = max(lives.values(), key=len, default=[])
        warm = [one for one in longest if one.at >= longest[0].at + self._warm_up_seconds]
        return warm or [self.before]


def mean(samples: Sequence[Figures]) -> Figures:
    return Figures(**{name: fmean(getattr(one, name) for one in samples) for name in NAMES})


def growth_per_hour(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the slope of the line through (seconds, value), and its standard error, per hour."""
    if len(points) < 3:
        return math.nan, math.nan
    x_mean, y_mean = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in points) / spread
    rest = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in points)
    return slope * 3600, math.sqrt(rest / (len(points) - 2) / spread) * 3600
