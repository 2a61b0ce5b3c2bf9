"""Gitolite's configuration as rules of ours, which never give more than gitolite did.

There a rule that matches and does not give is passed over, and only "-" denies, for the rules behind
it; so each rule becomes an entry of its own, with the denials before it at the head of its refs. Where
ours can't say the same, less is given.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gitpat_proxy.access.gitolite_lines import EVERYBODY, Reader, Remark, Rule, read
from gitpat_proxy.access.names import is_account_name
from gitpat_proxy.access.patterns import Pattern
from gitpat_proxy.access.refs import ALL_VERBS, RefRule, Verb

_NAME = re.compile(r"[0-9a-zA-Z][-0-9a-zA-Z._@/+]*")
_ROLES = re.compile(r"@?(?:CREATOR|READERS|WRITERS|OWNERS?)")
_NO_ACCOUNTS = {"daemon", "gitweb"}
_SPECIAL = re.compile(r"[.^$*+?()\[\]{}|\\]")
_EVERY_REF = "refs/**"
_TAGS = "refs/tags/"
_FORCING = frozenset({Verb.UPDATE, Verb.FORCE})
_NOTHING = frozenset[Verb]()


@dataclass(frozen=True)
class Entry:
    """What becomes of a rule: an entry of `access`; `refs` None: every ref in every way."""

    who: tuple[str, ...]
    repositories: tuple[str, ...]
    allow: str
    refs: tuple[str, ...] | None


class _Outcome(NamedTuple):
    """What a rule comes to for one user in one repository."""

    allow: str
    refs: tuple[str, ...] | None


_READING = _Outcome("code:read", None)


@dataclass(frozen=True)
class Imported:
    """The groups and entries, and what is not in them.

    `unreadable` are the lines that may hold anything, also a denial: with one of them the entries
    could give more than gitolite did.
    """

    groups: dict[str, tuple[str, ...]]
    entries: tuple[Entry, ...]
    remarks: tuple[Remark, ...]
    unreadable: tuple[Remark, ...]


def imported(text: str) -> Imported:
    """Translate a configuration of gitolite's."""
    return _Translator(read(text)).translated()


class _Translator:
    """Makes entries of the rules that were read."""

    def __init__(self, reader: Reader) -> None:
        self._rules = reader.rules
        self._limiting_rules = [r for r in reader.rules if r.is_denial or r.tests_pushes]
        self._special_rules = [r for r in reader.rules if set("CDM") & set(r.permission[2:])]
        self._denying_readers = self._expand_repositories(reader, reader.denying_readers)
        self._reader = reader
        self._remarks = reader.remarks
        self._names = {
            user
            for users in [*(rule.users for rule in reader.rules), *reader.groups.values()]
            for user in users
        }
        self._groups_used: dict[str, tuple[str, ...]] = {}
        self._repositories = {
            rule.line: self._expand_repositories(reader, rule.repositories) for rule in reader.rules
        }

    def translated(self) -> Imported:
        entries: list[Entry] = []
        for rule in self._rules:
            if any(ref.startswith("VREF/") for ref in rule.refs):
                self._remark(rule, f"{', '.join(rule.refs)}: what is in a push is not looked at here")
            elif rule.permission == "C":
                self._remark(rule, "C: there is no counterpart to making a repository by a push")
            elif not rule.is_denial:
                entries += self._entries_of(rule)
        remarks = sorted(dict.fromkeys(self._remarks), key=lambda remark: remark.line)
        unreadable = tuple(dict.fromkeys(self._reader.unreadable))
        return Imported(self._groups_used, tuple(entries), tuple(remarks), unreadable)

    def _remark(self, rule: Rule, sentence: str) -> None:
        self._remarks.append(Remark(rule.line, sentence))

    @staticmethod
    def _expand_repositories(reader: Reader, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(
                repository
                for name in names
                for repository in (reader.groups.get(name, ()) if name != EVERYBODY else [name])
                or [name]
            )
        )

    def _entries_of(self, rule: Rule) -> Iterator[Entry]:
        """Yield an entry for all repositories and users of a rule for whom the same comes of it."""
        found: dict[_Outcome, dict[str, list[str]]] = {}
        for repository in self._repositories[rule.line]:
            pattern = _repository_pattern(repository)
            if pattern is None:
                self._remark(rule, f"{repository}: a wild repository, or no pattern that ours can say")
                continue
            for user, name in self._users(rule, repository):
                if outcome := self._outcome(rule, repository, user):
                    found.setdefault(outcome, {}).setdefault(pattern, []).append(name)
        for outcome, who_of in found.items():
            together: dict[tuple[str, ...], list[str]] = {}
            for pattern, who in who_of.items():
                together.setdefault(tuple(dict.fromkeys(who)), []).append(pattern)
            for names, patterns in together.items():
                yield Entry(names, tuple(patterns), outcome.allow, outcome.refs)

    def _users(self, rule: Rule, repository: str) -> Iterator[tuple[str, str]]:
        """Yield gitolite's users and groups that a rule is for, with their names in `who`."""
        by_name = any("/USER/" in ref for ref in rule.refs)
        for user in rule.users:
            if user == EVERYBODY:
                if by_name:
                    self._remark(rule, "USER with @all: name those it is for")
                else:
                    yield user, "*"
            elif _ROLES.fullmatch(user) or user in _NO_ACCOUNTS:
                self._remark(rule, f"{user}: is no account, and there is no counterpart")
            elif not user.startswith("@"):
                yield from self._accounts(rule, [user])
            elif user not in self._reader.groups:
                self._remark(rule, f"{user}: the group is not defined in this file")
            elif by_name or not self._is_one(user, rule, repository):
                yield from self._accounts(rule, self._reader.groups[user])
            else:
                yield from self._group(rule, user)

    def _accounts(self, rule: Rule, users: Iterable[str]) -> Iterator[tuple[str, str]]:
        for user in users:
            if user == EVERYBODY:
                yield user, "*"
            elif is_account_name(user) and user not in _NO_ACCOUNTS and not _ROLES.fullmatch(user):
                yield user, user
            else:
                self._remark(rule, f"{user}: can't be an account here")

    def _group(self, rule: Rule, group: str) -> Iterator[tuple[str, str]]:
        """A group keeps its name, unless somebody has it, or it is none here."""
        members = [name for _, name in self._accounts(rule, self._reader.groups[group])]
        name = group[1:]
        if not members:
            self._remark(rule, f"{group}: has no members")
        elif name in self._names or not is_account_name(name):
            yield from self._accounts(rule, self._reader.groups[group])
        else:
            self._groups_used[name] = tuple(members)
            yield group, name

    def _is_one(self, group: str, rule: Rule, repository: str) -> bool:
        """Whether what limits the rule is the same for all members of the group."""
        found = {tuple(self._limiting(rule, repository, user)) for user in self._reader.groups[group]}
        return len(found) == 1

    def _limiting(self, rule: Rule, repository: str, user: str) -> Iterator[Rule]:
        """Yield the denials that stand before a rule, and what tests pushes wherever it stands."""
        for other in self._limiting_rules:
            is_meant = other.tests_pushes or other.line < rule.line
            if is_meant and self._overlap(other, repository) and self._is_for(other, user):
                yield other

    def _overlap(self, rule: Rule, repository: str) -> bool:
        return any(_may_be_one(other, repository) for other in self._repositories[rule.line])

    def _is_for(self, rule: Rule, user: str) -> bool:
        """Whether a rule may be for a user or for a member of a group: what can't be told may be."""
        groups = self._reader.groups
        asked = set(groups[user]) if user in groups else {user}
        for other in rule.users:
            members = set(groups[other]) if other in groups else {other}
            unknown = any(not is_account_name(m) or _ROLES.fullmatch(m) for m in members)
            if unknown or members & asked or EVERYBODY in members | asked:
                return True
        return False

    def _outcome(self, rule: Rule, repository: str, user: str) -> _Outcome | None:
        limiting = [*self._limiting(rule, repository, user)]
        if user == EVERYBODY and any(EVERYBODY not in other.users for other in limiting):
            self._remark(rule, "@all: what another line denies to some is denied to everybody here")
        denied_before = any(other.is_denial and other.line < rule.line for other in limiting)
        if denied_before and any(_may_be_one(r, repository) for r in self._denying_readers):
            self._remark(
                rule, "left out: with the option deny-rules a denial before it is for reading, too"
            )
            return None
        if rule.permission == "R":
            return _READING
        if any(other.tests_pushes for other in limiting):
            self._remark(rule, "to read only: what a VREF would have looked at can't be looked at here")
            return _READING
        return self._writing(rule, repository, user, limiting)

    def _writing(self, rule: Rule, repository: str, user: str, limiting: list[Rule]) -> _Outcome:
        verbs, verbs_of_tags = self._verbs(rule, repository)
        given: dict[str, frozenset[Verb]] = {}
        for ref in rule.refs:
            refs = _refs_of(ref.replace("/USER/", f"/{user}/", 1))
            patterns = dict(_given(refs, verbs, verbs_of_tags)) if refs else {}
            if not patterns or not all(map(_checked, patterns)):
                self._remark(rule, f"{ref}: a regular expression that is no pattern here")
                continue
            given |= patterns
        denials = dict.fromkeys(
            d for other in limiting for ref in other.refs for d in self._denied(other, ref)
        )
        before = [d for d in denials if any(_may_meet(d, pattern) for pattern in given)]
        if _EVERY_REF in before or not any(given.values()):
            return _READING
        if not before and given == {_EVERY_REF: ALL_VERBS}:
            return _Outcome("code:write", None)
        rules = [
            RefRule(pattern, v) for pattern, v in [*((d, _NOTHING) for d in before), *given.items()]
        ]
        return _Outcome("code:write", tuple(map(str, rules)))

    def _denied(self, rule: Rule, ref: str) -> Iterator[str]:
        """Yield patterns for all refs that a denial may be for."""
        refs = _refs_of(ref)
        is_exact = refs and "/USER/" not in ref and "." not in re.sub(r"\\.|\.\*\$?$", "", ref)
        if refs is None or not is_exact:
            refs = _wider_refs(ref.split("/USER/", maxsplit=1)[0] + "/.*" if "/USER/" in ref else ref)
            self._remark(rule, f"{ref}: no pattern here; denied is all that begins with {refs.text}")
        patterns = _patterns_of(refs)
        yield from patterns if all(map(_checked, patterns)) else [_EVERY_REF]

    def _verbs(self, rule: Rule, repository: str) -> tuple[frozenset[Verb], frozenset[Verb]]:
        """Return what a rule gives, and what it gives for tags: to move one is to force it.

        Where any rule of a repository has C, D or M, those without it may not create, delete, or push
        merges; the latter can't be told here, so they may not push on.
        """
        used = {
            letter
            for other in self._special_rules
            if self._overlap(other, repository)
            for letter in other.permission[2:]
        }
        has, forces = set(rule.permission[2:]), "+" in rule.permission
        verbs = {Verb.UPDATE, Verb.FORCE} if forces else {Verb.UPDATE}
        if "C" in has or "C" not in used:
            verbs.add(Verb.CREATE)
        if "D" in has or (forces and "D" not in used):
            verbs.add(Verb.DELETE)
        if "M" in used - has:
            self._remark(rule, "without M: to update is left out, as merges can't be told here")
            verbs -= _FORCING
        of_tags = verbs if forces else verbs - _FORCING
        return frozenset(verbs), frozenset(of_tags)


def _repository_pattern(name: str) -> str | None:
    """Return our pattern for the name, or for `FOLDER/..*`; None for what is neither."""
    if name == EVERYBODY:
        return "**"
    match = re.fullmatch(r"(?P<folder>(?:.*/)?)\.(?:\.?\*|\+)", name)
    folder = match["folder"] if match else name
    # In a name a + stands for itself, in a pattern it does not.
    if (folder and not _NAME.fullmatch(folder)) or (match and "+" in folder) or "CREATOR" in name:
        return None
    return _checked(f"{folder}**" if match else name)


class _Refs(NamedTuple):
    """The ref of that name, or all whose names begin so."""

    text: str
    is_whole: bool


def _refs_of(refex: str) -> _Refs | None:
    """Return what a refex matches, or less; None where that can't be said.

    A refex is anchored at its beginning only. A dot that is not quoted stands for itself here.
    """
    is_whole = refex.endswith("$") and not refex.endswith("\\$")
    text = refex.removesuffix("$") if is_whole else refex
    if text.endswith(".*") and not text.endswith("\\.*"):
        text, is_whole = text.removesuffix(".*"), False
    if _SPECIAL.search(re.sub(r"\\[^0-9A-Za-z]|\.", "", text)):
        return None
    literal = re.sub(r"\\(.)", r"\1", text)
    return None if "*" in literal else _Refs(literal, is_whole)


def _wider_refs(refex: str) -> _Refs:
    """Return all that a refex may match."""
    text = _beginning(refex)
    return _Refs("refs/" if "|" in refex or not text.startswith("refs/") else text, is_whole=False)


def _patterns_of(refs: _Refs) -> list[str]:
    if refs.is_whole:
        return [refs.text]
    return [f"{refs.text}**"] if refs.text.endswith("/") else [f"{refs.text}*", f"{refs.text}*/**"]


def _checked(text: str) -> str | None:
    try:
        Pattern(text)
    except ValueError:
        return None
    return text


def _given(
    refs: _Refs, verbs: frozenset[Verb], verbs_of_tags: frozenset[Verb]
) -> Iterator[tuple[str, frozenset[Verb]]]:
    """Yield patterns with their verbs, those of tags first where the refs have tags among others."""
    if refs.text.startswith(_TAGS):
        verbs = verbs_of_tags
    elif verbs != verbs_of_tags and not refs.is_whole and _TAGS.startswith(refs.text):
        yield f"{_TAGS}**", verbs_of_tags
    yield from ((pattern, verbs) for pattern in _patterns_of(refs))


def _may_meet(one: str, other: str) -> bool:
    """Whether a name may match both patterns."""
    beginning, begins = one.split("*", maxsplit=1)[0], other.split("*", maxsplit=1)[0]
    return beginning.startswith(begins) or begins.startswith(beginning)


def _may_be_one(one: str, other: str) -> bool:
    """Whether two of gitolite's names for repositories may mean the same one: plain, or a pattern."""
    if EVERYBODY in {one, other}:
        return True
    if _NAME.fullmatch(one) and _NAME.fullmatch(other):
        try:
            return re.fullmatch(one, other) is not None or re.fullmatch(other, one) is not None
        except re.error:
            return True
    if "|" in one + other or "CREATOR" in one + other:
        return True
    return _may_meet(_beginning(one), _beginning(other))


def _beginning(regex: str) -> str:
    """Return the characters with which all begins that a regular expression without | matches."""
    special = _SPECIAL.search(regex)
    text = regex[: special.start()] if special else regex
    return text[:-1] if special and special[0] in "*?{+" else text
