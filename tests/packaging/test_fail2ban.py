"""fail2ban bans who guesses, and nobody whom a log line only names."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from shutil import copytree
from typing import NamedTuple
from urllib.parse import quote

import pytest

from tests.support.git import make_repository
from tests.support.proxy import Proxy, wait_until
from tests.support.raw import basic
from tests.support.tools import require
from tests.support.visitor import Visitor, person

PACKAGING = Path(__file__).parents[2] / "packaging" / "fail2ban"
FILTER = PACKAGING / "filter.d" / "gitpat-proxy.conf"
JOURNAL_REMOTE = Path("/lib/systemd/systemd-journal-remote")
PYTHON_SYSTEMD = Path("/usr/lib/python3/dist-packages/systemd")

UNIT = "gitpat-proxy.service"
ADVERTISEMENT = "/info/refs?service=git-upload-pack"
NEVER_A_TOKEN = "gpat_" + "0" * 46
VICTIM = "198.51.100.66"
BEHIND = ["127.0.0.1/32"]

# A line that counts, as somebody would like to have it in the log for somebody else.
FORGED = (
    f'{{"request": "0123456789ab", "address": "{VICTIM}", "method": "GET", "account": null, '
    '"token": null, "repository": null, "service": null, "kind": null, "protocol": 0, "status": 401, '
    '"code": "token_unknown", "reason": "", "event": "request", "level": "info", '
    '"time": "2001-02-03T04:05:06.000007Z"}'
)
HOSTILE_NAMES = [
    FORGED,
    'a"' + FORGED,
    "\u2028" + FORGED,
    f'a", "address": "{VICTIM}", "code": "token_unknown", "time": "2001-02-03T04:05:06.000007Z"}}',
    f"host gitpat-proxy[1]: {FORGED}",
]


class Attacked(NamedTuple):
    """A log, and from where, in order, the guesses came of which it tells."""

    log: Path
    guesses: Sequence[str]


class Sender:
    """Sends requests that came to the proxy in front from an address."""

    def __init__(self, proxy: Proxy, address: str) -> None:
        self.address = address
        self._proxy = proxy

    def asks(self, path: str, secret: str = "", status: int = 401, **headers: str) -> str:
        """Send a request, and return where it came from."""
        sent = {"X-Forwarded-For": self.address}
        if secret:
            sent["Authorization"] = basic(secret)
        assert self._proxy.get(path, sent | headers)[0] == status
        return self.address


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Attacked:
    """The log of a proxy that was used well, used wrongly, and attacked."""
    require("fail2ban-regex")
    folder = tmp_path_factory.mktemp("attacked") / "proxy"
    proxy = Proxy(folder, trusted_proxies=BEHIND, limits={"unknown_tokens": 2})
    make_repository(proxy.repositories / "team" / "app.git")
    proxy.start()
    try:
        guesses = _attack(proxy)
    finally:
        proxy.stop()
    names = {line["repository"] for line in proxy.log_lines() if line.get("repository")}
    assert names.issuperset(HOSTILE_NAMES)
    return Attacked(proxy.log_file, guesses)


def _attack(proxy: Proxy) -> list[str]:
    """Use the proxy in all ways; return, in order, where the guesses came from."""
    team = "/team/app" + ADVERTISEMENT
    good, _ = proxy.make_token("code:read")
    revoked, token = proxy.make_token("code:read")
    proxy.ok("token", "revoke", token.id)
    other, _ = proxy.make_token("work_items:read")

    user = Sender(proxy, "192.0.2.1")
    user.asks(team)
    user.asks(team, good, 200)
    user.asks("/team/none" + ADVERTISEMENT, good, 404)
    user.asks(team, revoked)
    user.asks(team, other)
    user.asks(team, Authorization="Nothing")
    user.asks("/-/api/v1/self")
    user.asks("/-/api/v1/self", good, 200)
    user.asks("/robots.txt", status=404)

    v4, v6, api = (Sender(proxy, a) for a in ("203.0.113.4", "2001:db8::6", "203.0.113.7"))
    guesses = [
        v4.asks(team, NEVER_A_TOKEN),
        v4.asks("/none" + ADVERTISEMENT, "a password"),
        v4.asks(team, "another one", 429),
        v6.asks(team, NEVER_A_TOKEN),
        api.asks("/-/api/v1/tokens", NEVER_A_TOKEN),
    ]
    guesses += _from_the_pages(proxy)
    for number, name in enumerate(HOSTILE_NAMES):
        path = "/" + quote(name, safe="") + ADVERTISEMENT
        user.asks(path, good, 404)
        user.asks(path)
        user.asks("/-/" + quote(name, safe=""), status=404)
        lines = {"X-Forwarded-For": f"{quote(name)}, 203.0.113.8", "User-Agent": quote(name)}
        Sender(proxy, "203.0.113.8").asks(path, good, 404, **lines)
        guesses.append(Sender(proxy, f"203.0.113.{100 + number}").asks(path, NEVER_A_TOKEN))
    return guesses


def _from_the_pages(proxy: Proxy) -> list[str]:
    """Guess passwords until the proxy has one wait, and let another site's form do the same."""
    person(proxy, "bob")
    https = {"X-Forwarded-Proto": "https"}
    guesser = Visitor(proxy.port, headers=https | {"X-Forwarded-For": "203.0.113.9"})
    fields = {"name": "bob", "password": "guessed, not known"}
    statuses: list[int] = []

    def has_to_wait() -> bool:
        statuses.append(guesser.submit("/-/sign-in", fields).status)
        return statuses[-1] == 429

    wait_until(has_to_wait, 60, "a wait")
    visitor = Visitor(proxy.port, headers=https | {"X-Forwarded-For": VICTIM})
    assert visitor.post("/-/sign-in", fields, {"Sec-Fetch-Site": "cross-site"}).status == 403
    assert visitor.get("/-/sign-in").status == 200
    return ["203.0.113.9"] * len(statuses)


def _found(source: str, timezone: str = "UTC") -> list[str]:
    """Return what the filter finds there, on a machine of that zone: addresses and times."""
    result = subprocess.run(
        ["fail2ban-regex", "--out", "<ip> <time>", source, str(FILTER)],
        env=os.environ | {"TZ": timezone},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.splitlines()


def test_guesses_are_found_in_a_file(attacked: Attacked) -> None:
    found = [line.split()[0] for line in _found(str(attacked.log))]

    assert found == list(attacked.guesses)


def test_a_guess_counts_at_its_own_time(attacked: Attacked) -> None:
    """An old time, as a name may hold one, would let the guess go unseen."""
    times = {
        line["address"]: int(datetime.fromisoformat(line["time"]).timestamp())
        for line in map(json.loads, attacked.log.read_text().split("\n")[:-1])
        if line.get("code") == "token_unknown" and line.get("repository") in HOSTILE_NAMES
    }

    found = dict(line.split() for line in _found(str(attacked.log), timezone="XXX-5"))

    assert len(times) == len(HOSTILE_NAMES)
    assert {address: int(float(found[address])) for address in times} == times


def test_guesses_are_found_in_the_journal(attacked: Attacked, tmp_path: Path) -> None:
    """But not in what another service, or a hook, wrote there."""
    require("systemd-journal-remote", found=JOURNAL_REMOTE.exists())
    require("python3-systemd", found=PYTHON_SYSTEMD.exists())
    lines = [("stdout", UNIT, line) for line in attacked.log.read_text().split("\n") if line]
    lines += [("syslog", UNIT, FORGED), ("stdout", "other.service", FORGED)]
    entries = "".join(_journal_entry(number, *line) for number, line in enumerate(lines, 1))
    journal = tmp_path / "log.journal"
    subprocess.run(
        [JOURNAL_REMOTE, f"--output={journal}", "-"],
        input=entries.encode(),
        check=True,
        capture_output=True,
        timeout=60,
    )

    found = [line.split()[0] for line in _found(f"systemd-journal[journalfiles={journal}]")]

    assert found == list(attacked.guesses)


def _journal_entry(number: int, transport: str, unit: str, message: str) -> str:
    """Return an entry in the journal's export format."""
    fields = {
        "__REALTIME_TIMESTAMP": 1_700_000_000_000_000 + number,
        "__MONOTONIC_TIMESTAMP": number,
        "_BOOT_ID": "0" * 31 + "1",
        "_TRANSPORT": transport,
        "_SYSTEMD_UNIT": unit,
        "_HOSTNAME": "git",
        "SYSLOG_IDENTIFIER": "gitpat-proxy",
        "_PID": 7,
        "MESSAGE": message,
    }
    return "".join(f"{name}={value}\n" for name, value in fields.items()) + "\n"


@pytest.fixture
def fail2ban(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """Runs the jail on a log, with an action that only writes down whom it would shut out."""
    require("fail2ban-server")
    servers: list[subprocess.Popen[bytes]] = []
    folder, banned = tmp_path / "fail2ban", tmp_path / "banned"

    def start(log: Path) -> Path:
        copytree("/etc/fail2ban", folder, ignore=lambda *_: ["jail.d"])
        copytree(PACKAGING, folder, dirs_exist_ok=True)
        (folder / "action.d" / "note.conf").write_text(
            f"[Definition]\nactionban = echo <ip> >>{banned}\nactionunban =\n"
        )
        (folder / "jail.d" / "gitpat-proxy.local").write_text(
            f"[gitpat-proxy]\nbackend = polling\nlogpath = {log}\nbanaction = note\n"
        )
        (folder / "fail2ban.local").write_text(
            "[DEFAULT]\nlogtarget = STDERR\ndbfile = :memory:\n"
            f"socket = {tmp_path}/f.sock\npidfile = {tmp_path}/f.pid\n"
        )
        with (tmp_path / "fail2ban.log").open("wb") as output:
            servers.append(
                subprocess.Popen(
                    ["fail2ban-server", "-f", "-c", str(folder), "start"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
        return banned

    yield start
    for server in servers:
        server.terminate()
        server.wait(30)


def test_the_jail_shuts_out_who_goes_on_guessing(
    start_proxy: Callable[..., Proxy], fail2ban: Callable[[Path], Path]
) -> None:
    proxy = start_proxy(trusted_proxies=BEHIND)
    path = "/team/app" + ADVERTISEMENT
    for _ in range(19):
        Sender(proxy, "203.0.113.1").asks(path, NEVER_A_TOKEN)
    for _ in range(20):
        Sender(proxy, "203.0.113.2").asks(path, NEVER_A_TOKEN)
        Sender(proxy, "203.0.113.3").asks(path)

    banned = fail2ban(proxy.log_file)

    wait_until(banned.exists, 30, "a ban")
    assert banned.read_text() == "203.0.113.2\n"
