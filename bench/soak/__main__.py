"""`make soak SECONDS=…`: everything that can happen to the proxy at once, for as long as is asked."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench.errors import BenchError
from bench.soak.ending import LEFT_SECONDS
from bench.soak.gauge import Gauge
from bench.soak.ledger import Ledger
from bench.soak.load import Load, disturbances, tasks
from bench.soak.report import Report, progress
from bench.soak.site import Site
from bench.soak.work import Promises
from bench.surroundings import WORK

WARM_UP_SECONDS = 10.0
_SHORTEST = 20


def main() -> None:
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    WORK.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=WORK))
    try:
        failures = soak(folder, arguments.seconds, arguments.kill_proxy_every, arguments.reload_every)
    except BenchError as error:
        print(f"soak: {error}", file=sys.stderr)
        failures = 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failures else 0)


def soak(folder: Path, seconds: float, kill_every: float, reload_every: float) -> int:
    """Run it, print what came of it, and return how much of that should not be."""
    site, ledger, promises = Site(folder), Ledger(), Promises()
    gauge = Gauge(site, min(5.0, max(0.5, seconds / 400)), WARM_UP_SECONDS)
    try:
        site.start()
        work = [*tasks(site, ledger, promises), *disturbances(site, ledger, kill_every, reload_every)]
        load = Load(site, ledger, work)
        began = time.monotonic()
        gauge.start()
        load.start()
        for tenth in range(1, 11):
            time.sleep(max(0.0, began + seconds * tenth / 10 - time.monotonic()))
            print(progress(tenth, time.monotonic() - began, ledger, gauge), flush=True)
        gauge.stop()
        load.stop()
        time.sleep(LEFT_SECONDS)
        return Report(site, ledger, promises, gauge).printed()
    finally:
        site.over.set()
        site.stop()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument(
        "seconds", type=_seconds, help=f"how long, from {_SHORTEST} on; {WARM_UP_SECONDS:.0f} to warm up"
    )
    parser.add_argument(
        "--kill-proxy-every",
        type=float,
        default=0,
        metavar="SECONDS",
        help="kill -9 it and start it again",
    )
    parser.add_argument(
        "--reload-every", type=float, default=0, metavar="SECONDS", help="send it SIGHUP"
    )
    return parser.parse_args()


def _seconds(text: str) -> float:
    if (value := float(text)) < _SHORTEST:
        raise argparse.ArgumentTypeError(f"at least {_SHORTEST}")
    return value


if __name__ == "__main__":
    main()
