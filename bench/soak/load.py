"""Who does what, all at once, until the time is over."""

import http.client
import random
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.soak.hostile import ByteASecond, Garbage, Guesser, HalfRequest, StalledClone, Unread
from bench.soak.killed import KilledClient, KilledGit
from bench.soak.ledger import CONNECTION, Ledger, UnexpectedError
from bench.soak.people import (
    Cloner,
    Fetcher,
    Lister,
    Maintenance,
    Pusher,
)
from bench.soak.programs import Disturbance, Reader
from bench.soak.site import UPSTREAM, Site
from bench.soak.tokens import CutClone, TokenLife
from bench.soak.work import Promises

_NEVER_EXCUSED = {"permitted", "wrong content", "lost push", "internal", "not cut off"}


@dataclass(frozen=True)
class Task:
    """What one thread does again and again, with about so many seconds in between."""

    name: str
    pause: float
    step: Callable[[], None]


def tasks(site: Site, ledger: Ledger, promises: Promises) -> Iterator[Task]:
    """Yield a few of each kind: they share the machine with the proxy."""
    for number in range(2):
        yield Task("cloner", 1, Cloner(site, ledger, f"cloner-{number}"))
        yield Task("stalled clone", 0.5, StalledClone(site, ledger, f"stalled-{number}"))
        yield Task("a byte a second", 0.5, ByteASecond(site, ledger))
    for number, repository in enumerate(["pushed", f"{UPSTREAM}pushed"]):
        yield Task("pusher", 1, Pusher(site, ledger, promises, repository, f"pusher-{number}"))
        yield Task("fetcher", 2, Fetcher(site, ledger, repository, f"fetcher-{number}"))
    yield Task("lister", 2, Lister(site, ledger, "lister"))
    yield Task("token life", 1, TokenLife(site, ledger, "token-life"))
    yield Task("cut clone", 2, CutClone(site, ledger))
    yield Task("reader", 2, Reader(site, ledger))
    yield Task("killed client", 2, KilledClient(site, ledger, promises, "killed-client"))
    yield Task("killed git", 2, KilledGit(site, ledger, promises, "killed-git"))
    yield Task("clone that is never read", 1, Unread(site, ledger))
    yield Task("half a request", 0.5, HalfRequest(site, ledger))
    yield Task("garbage", 0.5, Garbage(site, ledger))
    yield Task("guesser", 5, Guesser(site, ledger))
    yield Task("maintenance", 60, Maintenance(site, ledger))


def disturbances(site: Site, ledger: Ledger, kill_every: float, reload_every: float) -> Iterator[Task]:
    if kill_every:
        yield Task("kill", 0, Disturbance(site, ledger, "kill -9 of the proxy", kill_every))
    if reload_every:
        yield Task("reload", 0, Disturbance(site, ledger, "SIGHUP", reload_every))


class Load:
    """Runs tasks, each in a thread."""

    def __init__(self, site: Site, ledger: Ledger, work: list[Task]) -> None:
        self._site, self._ledger = site, ledger
        self._threads = [
            threading.Thread(target=self._repeat, args=(task,), name=task.name, daemon=True)
            for task in work
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each finish what it does."""
        self._site.over.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, task: Task) -> None:
        while not self._site.over.is_set():
            began = time.monotonic()
            try:
                task.step()
            except UnexpectedError as error:
                self._judge(task, error.cause, str(error), began)
            except (OSError, http.client.HTTPException) as error:
                self._judge(task, CONNECTION, f"{type(error).__name__}: {error}", began)
            except subprocess.TimeoutExpired as error:
                self._ledger.unexpected(task.name, "timeout", str(error))
            except Exception:
                # The outermost edge of a thread: it is counted, and the load goes on.
                self._ledger.unexpected(task.name, "exception", traceback.format_exc())
            self._site.over.wait(task.pause * random.uniform(0.5, 1.5))

    def _judge(self, task: Task, cause: str, text: str, began: float) -> None:
        """What the killed proxy took with it is as it should be; what it gave away or lost is not."""
        if cause not in _NEVER_EXCUSED and self._site.was_down_since(began):
            self._ledger.refused(task.name, "proxy killed")
        else:
            self._ledger.unexpected(task.name, cause, text)
