"""When the load has stopped: what is left, what is broken, what was promised and is not there."""

import json
from collections import Counter
from collections.abc import Iterator

import psutil

from bench.soak.ledger import UnexpectedError
from bench.soak.site import Site, run_git
from bench.soak.work import SOAK, Promises
from tests.support.proxy import Proxy

LEFT_SECONDS = 5.0
"""How long after the load's end nothing of it may be left."""
_FAILURES = {
    "audit_events_lost",
    "audit_not_pruned",
    "audit_not_written",
    "database_failed",
    "failed",
    "watch_failed",
}
_CODES = {"internal", "unavailable", "upstream_timeout"}
_OF_A_KILL = "the process that had them was killed"
"""How many events were lost must be said then: that is no failure."""


def has_ended(proxy: Proxy) -> bool:
    return proxy.process is None or proxy.process.poll() is not None


def left_over(site: Site) -> tuple[list[str], list[str]]:
    """Return the processes, and the pipes and sockets, that no operation needs any more.

    Connections between the two proxies are kept for the next operation, and are no leftovers.
    """
    processes = [
        f"{process.pid} {_command(process)}" for proxy in site.proxies for process in proxy.children()
    ]
    descriptors = []
    for name, proxy in (("front", site.front), ("upstream", site.upstream)):
        kept = _kept_connections(site, proxy)
        more = len(proxy.open_pipes_and_sockets()) - kept
        if more > 0:
            descriptors += [f"{name}: {one}" for one in sorted(proxy.open_pipes_and_sockets())]
            descriptors.append(f"{name}: {kept} of them are connections between the two proxies")
    return processes, descriptors


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return "(ended)"


def _kept_connections(site: Site, proxy: Proxy) -> int:
    port, accepted = site.upstream.port, proxy is site.upstream
    return sum(
        1
        for connection in psutil.Process(proxy.pid).net_connections("tcp")
        if connection.raddr and (connection.laddr if accepted else connection.raddr).port == port
    )


def broken_repositories(site: Site) -> Iterator[str]:
    """Yield what fsck finds; and the packs of pushes that were begun and not undone."""
    for name, path in site.repositories():
        try:
            run_git(path, "fsck", "--full", "--strict", "--no-progress", "--no-dangling")
        except UnexpectedError as error:
            yield f"{name}: {error}"


def quarantines(site: Site) -> list[str]:
    """Return the folders that pushes left behind; `git gc` removes them."""
    return [
        f"{name}: {folder.name}"
        for name, path in site.repositories()
        for folder in path.glob("objects/tmp_objdir*")
    ]


def broken_promises(site: Site, promises: Promises) -> Iterator[str]:
    for name, _ in site.repositories():
        refs = site.refs(name)
        pushed = {ref: at for ref, at in refs.items() if ref.startswith(f"{SOAK}/")}
        yield from promises.broken(name, pushed)
        if (head := refs["refs/heads/main"]) != site.heads[name]:
            yield f"{name}: main is {head}"


def audit_of(proxy: Proxy) -> tuple[str, bool]:
    outcome = proxy.cli("audit", "verify")
    return outcome.text.strip(), outcome.ok


class Log:
    """What a proxy wrote: its events and the codes of its refusals, counted; and what it should not."""

    def __init__(self, proxy: Proxy) -> None:
        self.events: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.failures: list[str] = []
        with proxy.log_file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._read(line.rstrip("\n"))

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            self.failures.append(line)
            return
        event, code = entry.get("event"), entry.get("code")
        self.events[event] += 1
        if code:
            self.codes[code] += 1
        if (
            (event in _FAILURES and entry.get("reason") != _OF_A_KILL)
            or code in _CODES
            or entry.get("level") == "critical"
            or "exception" in entry
        ):
            self.failures.append(line)
