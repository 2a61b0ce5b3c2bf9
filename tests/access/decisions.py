"""The table of decisions.yaml, read."""

from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import yaml

from gitpat_proxy.access.model import Token
from gitpat_proxy.access.policy import Attempt
from gitpat_proxy.access.refs import Verb, ref_rule_of
from gitpat_proxy.access.rules import AccessRules
from gitpat_proxy.config.model import AccessFile, rules_of
from gitpat_proxy.git.operation import Operation, operation_of
from tests.access.examples import NOW, a_token, an_account

_READ: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("decisions.yaml").read_text())
RULES: dict[str, dict[str, Any]] = _READ["rules"]
_HOUR = timedelta(hours=1)
_SCOPES = {"read": "code:read", "write": "code:write", "other": "work_items:read"}
_STATES: dict[str, dict[str, Any]] = {
    "expired": {"expires_at": NOW},
    "revoked": {"revoked_at": NOW - _HOUR},
    "pending": {"not_before": NOW + _HOUR},
}
_ADDRESSES = {
    "fetch": ("info/refs", "service=git-upload-pack"),
    "archive": ("info/refs", "service=git-upload-archive"),
    "push": ("info/refs", "service=git-receive-pack"),
    "dumb": ("HEAD", ""),
}


@dataclass(frozen=True)
class Limits:
    """What the table says of one token."""

    scopes: tuple[str, ...]
    repositories: tuple[str, ...] | None
    refs: tuple[str, ...] | None
    addresses: tuple[str, ...] | None
    states: tuple[str, ...]

    def token(self, account: str, parent: Token | None) -> Token:
        token = a_token(
            account=account,
            scopes=frozenset(self.scopes),
            repositories=self.repositories,
            refs=self.refs and tuple(map(ref_rule_of, self.refs)),
            addresses=self.addresses and tuple(map(ip_network, self.addresses)),
            parent=parent,
        )
        for state in self.states:
            token = replace(token, **_STATES[state])
        return token


@dataclass(frozen=True)
class Row:
    """One row: who, with what, does what, and the code of the refusal; None: permitted."""

    text: str
    with_git: bool
    rules: str
    account: str
    lineage: tuple[Limits, ...]
    """The token, then what it was derived from."""
    disabled: bool
    word: str
    repository: str
    verb: Verb | None
    ref: str
    address: str
    code: str | None

    @property
    def attempt(self) -> Attempt:
        parent: Token | None = None
        for limits in reversed(self.lineage):
            parent = limits.token(self.account, parent)
        assert parent is not None
        return Attempt(
            self._operation,
            parent,
            an_account(name=self.account, disabled_at=NOW if self.disabled else None),
            None if self.address == "socket" else ip_address(self.address),
            NOW,
            None if self.rules == "none" else rules_named(self.rules).of_account(self.account),
        )

    @property
    def _operation(self) -> Operation:
        endpoint, query = _ADDRESSES[self.word]
        return operation_of("GET", f"/{self.repository}/{endpoint}", query)


def rules_named(name: str) -> AccessRules:
    read = AccessFile.model_validate(RULES[name])
    return rules_of(read.groups, read.access, [f"{name}:{n}" for n in range(len(read.access))])


def rows() -> list[Row]:
    lines = [line.strip() for line in _READ["table"].splitlines()]
    return [_row(line) for line in lines if line and not line.startswith("#")]


def _row(line: str) -> Row:
    who, token, operation, result = map(str.strip, line.removeprefix("* ").split("|"))
    rules, account = who.split()
    asked, _, address = operation.partition(" from ")
    word, repository, *change = asked.split()
    return Row(
        text=line.removeprefix("* "),
        with_git=line.startswith("* "),
        rules=rules,
        account=account,
        lineage=tuple(map(_limits, token.split("<"))),
        disabled="disabled" in token.split(),
        word=word,
        repository=repository,
        verb=Verb(change[0]) if change else None,
        ref=change[1] if change else "",
        address=address or "192.0.2.7",
        code=None if result == "ok" else result,
    )


def _limits(text: str) -> Limits:
    words = [word for word in text.split() if word != "disabled"]

    def given(key: str) -> tuple[str, ...] | None:
        return tuple(w.removeprefix(key) for w in words if w.startswith(key)) or None

    plain = [word for word in words if ":" not in word]
    return Limits(
        scopes=tuple(_SCOPES[word] for word in plain if word not in _STATES),
        repositories=given("repo:"),
        refs=given("ref:"),
        addresses=given("from:"),
        states=tuple(word for word in plain if word in _STATES),
    )
