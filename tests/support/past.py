"""A proxy with a past: people, their tokens, and a month of what those did."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from gitpat_proxy.access.model import AuditEvent, AuditFilter, Author, EventKind, Token
from gitpat_proxy.cli.context import Invocation, Services
from gitpat_proxy.config.model import Config
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.audit import Recorder, search
from gitpat_proxy.services.clock import utc_now
from gitpat_proxy.services.passwords import Passwords
from gitpat_proxy.services.sessions import Sessions
from gitpat_proxy.services.sign_in import SignIn, Visit
from gitpat_proxy.services.tokens import TokenFacts, Tokens
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN

PASSWORD = "seven wooden spoons"
ADMINISTRATOR = "alice"
SCOPES = {
    "work_items:read": "Work items (read)",
    "work_items:write": "Work items (read and write): change and close them.",
}

_HOUSES = ("10.20.4.17", "10.20.7.203", "10.20.9.8")
_REPOSITORIES = ("team/app", "team/website", "platform/deploy", "platform/terraform", "docs/handbook")


@dataclass
class Past:
    """The ids of what was made, by name."""

    tokens: dict[str, str] = field(default_factory=dict)
    session: str = ""
    """One of the administrator's sessions."""
    refused: int = 0
    """A record of what one of the administrator's tokens was refused."""


@dataclass
class _Clock:
    """A clock that is put to where the story goes on."""

    at: datetime

    def __call__(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class _Habit:
    """How a token is used: so many times a day, on so many of the last days, from where."""

    a_day: int
    days: range
    address: str
    writes: bool = False
    weekends: bool = False


_LIMITS = {
    "repositories": ["team/**", "!team/secret"],
    "refs": ["refs/heads/agent/**=create,update,force,delete", "refs/tags/agent-*=create"],
    "addresses": ["192.0.2.0/24", "2001:db8::/32"],
    "uses": 500,
}


def make_accounts(proxy: Proxy, *names: str) -> None:
    """Add accounts with the password; the first is an administrator."""

    proxy.services(lambda services: _add_accounts(services.accounts, *names))


async def _add_accounts(accounts: Accounts, *names: str) -> None:
    for name in names:
        await accounts.add(
            name,
            administrator=name == names[0],
            service=False,
            password=PASSWORD,
            by=Author("root (command line)"),
        )


def make_past(proxy: Proxy) -> Past:
    """Fill a proxy's database with what a month leaves."""
    return proxy.services(lambda services: _Story(services, Invocation(proxy.config_file).config).tell())


class _Story:
    def __init__(self, services: Services, config: Config) -> None:
        self.services = services
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.clock = _Clock(self.now)
        self.tokens = Tokens(services.database, self.clock, config)
        self.recorder = Recorder(services.database)
        self.random = random.Random(7)
        self.past = Past()

    async def tell(self) -> Past:
        await self._accounts()
        await self._sessions()
        await self._tokens_of_alice()
        await self._tokens_of_others()
        await self.recorder.close()
        wanted = AuditFilter(account=ADMINISTRATOR, kind=EventKind.REFUSED)
        [*_, (self.past.refused, _)] = await search(self.services.database, wanted)
        return self.past

    async def _accounts(self) -> None:
        self.clock.at = self.now - timedelta(days=400)
        accounts = Accounts(self.services.database, self.clock, Passwords())
        by = Author(ADMINISTRATOR)
        await _add_accounts(accounts, ADMINISTRATOR, "bob", "carol", "mallory")
        for name in ("build-farm", "issue-tracker"):
            await accounts.add(name, administrator=False, service=True, by=by)
        for name in ("dora.explorer@example.org", "grace", "linus", "margaret", "ken"):
            await accounts.add(name, administrator=False, service=False, by=by)
        self.clock.at = self.now - timedelta(days=80)
        await accounts.disable("mallory", by=by)

    async def _sessions(self) -> None:
        browsers = (
            (2, "10.20.7.203", "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0) Safari/604.1"),
            (9, "10.20.9.8", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Firefox/140.0"),
        )
        for hours, address, browser in browsers:
            self.clock.at = self.now - timedelta(hours=hours)
            sign_in = SignIn(self.services.database, self.clock, Passwords(), 0)
            visit = Visit(ip_address(address), browser=browser, device=None, request=self._number())
            await sign_in.by_password(ADMINISTRATOR, PASSWORD, visit)
        [*_, session] = await Sessions(self.services.database, utc_now).listed(ADMINISTRATOR)
        self.past.session = session.id

    async def _tokens_of_alice(self) -> None:
        make = self._make
        old = await make("old laptop", 340, "365d", ["code:write"], revoke="stolen on a train")
        await make("trial of the new CI", 60, "30d", ["code:read"])
        await make("backup to the vault", 200, "365d", ["code:read"], _daily(1, _HOUSES[2]))
        await make("dashboards", 150, "180d", ["work_items:read"])
        await make("release pipeline", 33, "90d", ["code:write"], _Habit(5, range(30), _HOUSES[1], True))
        await make("renovate", 70, "180d", ["code:write", "work_items:read"], _daily(9, _HOUSES[0]))
        await make("code search", 45, "365d", ["code:read"], _daily(22, _HOUSES[1]))
        await make("nightly build", 40, "180d", ["code:read"], _daily(3, _HOUSES[0]))
        agent = _Habit(14, range(9), "192.0.2.41", True)
        await make("coding agent", 9, "14d", ["code:write", "tokens:delegate"], agent, **_LIMITS)
        laptop = await make("laptop", 21, "90d", ["code:write"], _Habit(6, range(20), "192.0.2.7", True))
        items = await make("Work Items", 2, "90d", ["work_items:read"])
        self._push_of_a_release(laptop)
        token = await make("from next month on", 1, "90d", ["code:read"], not_before=True)
        self.clock.at = self.now - timedelta(minutes=9)
        job = TokenFacts("job 4711", ["code:write"], repositories=["team/app"], uses=3)
        agent_id = self.past.tokens["coding agent"]
        secret, derived = await self.tokens.derive(agent_id, job, by=self._by(ADMINISTRATOR))
        SEEN.secrets.add(secret)
        self.past.tokens["job"] = derived.id
        self.clock.at = self.now - timedelta(hours=5)
        facts = TokenFacts(scopes=["work_items:read", "code:read"], expires="30d")
        await self.tokens.edit(items.id, facts, by=self._by(ADMINISTRATOR))
        self._refused(items, "scope_missing", timedelta(hours=6))
        self._refused(old, "token_revoked", timedelta(minutes=9))
        self._refused(token, "token_not_yet_valid", timedelta(hours=2))

    async def _tokens_of_others(self) -> None:
        write = ["code:write"]
        await self._make("workstation", 30, "90d", write, _daily(8, _HOUSES[1]), account="bob")
        await self._make("x" * 100, 3, "90d", write, account="bob")
        for number in range(1, 56):
            await self._make(f"runner {number:02}", 60 - number, "180d", ["code:read"], account="grace")

    async def _make(
        self,
        name: str,
        days_ago: int,
        expires: str,
        scopes: list[str],
        habit: _Habit | None = None,
        *,
        account: str = ADMINISTRATOR,
        revoke: str = "",
        not_before: bool = False,
        **limits: Any,
    ) -> Token:
        self.clock.at = self.now - timedelta(days=days_ago, minutes=self.random.randrange(400))
        begins = (self.now + timedelta(days=12)).strftime("%Y-%m-%d") if not_before else None
        facts = TokenFacts(name, scopes, expires, begins, **limits)
        secret, token = await self.tokens.create(account, facts, by=self._by(account))
        SEEN.secrets.add(secret)
        self.past.tokens[name] = token.id
        if habit:
            self._use(token, habit)
        if revoke:
            self.clock.at = self.now - timedelta(days=9, hours=3)
            await self.tokens.revoke([token.id], revoke, by=self._by(account))
        return token

    def _use(self, token: Token, habit: _Habit) -> None:
        for days in reversed(habit.days):
            day = self.now - timedelta(days=days)
            quiet = not habit.weekends and day.weekday() >= 5
            number = self.random.randrange(1 if quiet else habit.a_day // 2, habit.a_day + 1)
            number = number // 6 if quiet else number
            minutes = sorted((self.random.randrange(700) for _ in range(number)), reverse=True)
            for before in minutes:
                self._use_once(token, habit, day - timedelta(minutes=before + 5, seconds=before % 60))

    def _use_once(self, token: Token, habit: _Habit, at: datetime) -> None:
        reads = ["clone", "fetch", "fetch"]
        event = self.random.choice([*reads, "push", "push"] if habit.writes else reads)
        details = {"updates": self._updates()} if event == "push" else {}
        self._event(token, event, at, (self.random.choice(_REPOSITORIES), habit.address), details)

    def _event(
        self, token: Token, event: str, at: datetime, where: tuple[str, str], details: dict[str, object]
    ) -> None:
        number = self._number()
        self.recorder.event(AuditEvent(at, event, token.account, token.id, *where, number, details))
        if event != "refused":
            self.recorder.use(token.id, at, where[1])

    def _updates(self) -> list[dict[str, object]]:
        branch = self.random.choice(("main", "main", "fix/timeouts", "feature/search", "release/2.4"))
        updates: list[dict[str, object]] = [
            {"ref": f"refs/heads/{branch}", "old": self._hex(), "new": self._hex(), "outcome": "ok"}
        ]
        if branch == "fix/timeouts":
            updates[0] |= {"outcome": "ng", "reason": "pre-receive hook declined"}
        return updates

    def _push_of_a_release(self, token: Token) -> None:
        at = self.now - timedelta(minutes=4)
        updates = [
            {"ref": "refs/heads/release/2.4", "old": self._hex(), "new": self._hex(), "outcome": "ok"},
            {"ref": "refs/tags/v2.4.0", "old": "0" * 40, "new": self._hex(), "outcome": "ok"},
        ]
        self._event(token, "push", at, ("team/app", "192.0.2.7"), {"updates": updates})

    def _refused(self, token: Token, code: str, ago: timedelta) -> None:
        details: dict[str, object] = {"code": code, "service": "git-upload-pack"}
        self._event(token, "refused", self.now - ago, ("team/app", "192.0.2.7"), details)

    def _by(self, name: str) -> Author:
        return Author(name, "192.0.2.7", self._number(), confined_to=name)

    def _number(self) -> str:
        return f"{self.random.getrandbits(48):012x}"

    def _hex(self) -> str:
        return f"{self.random.getrandbits(160):040x}"


def _daily(times: int, address: str) -> _Habit:
    return _Habit(times, range(30), address, weekends=True)
