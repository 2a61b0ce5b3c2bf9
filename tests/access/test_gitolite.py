"""Gitolite's configuration: what becomes of it, and that it never gives more than gitolite gave."""

import re
from dataclasses import dataclass
from itertools import chain, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.gitolite import Entry, imported
from gitpat_proxy.access.policy import Attempt, checks, ref_checks
from gitpat_proxy.access.refs import Verb
from gitpat_proxy.access.rules import AccessRules
from gitpat_proxy.cli.access import document_of
from gitpat_proxy.config.model import AccessFile, rules_of
from gitpat_proxy.config.problems import rule_problems
from gitpat_proxy.git.operation import operation_of
from tests.access.examples import NOW, a_token, an_account


def entries(text: str) -> list[Entry]:
    found = imported(text)
    assert found.unreadable == ()
    return list(found.entries)


def remarks(text: str) -> list[tuple[int, str]]:
    return [(remark.line, remark.sentence) for remark in imported(text).remarks]


WRITE, READ = "code:write", "code:read"
ALL = "create,update,force,delete"

# the rules of repo "app" for alice, and what becomes of each: allow and refs
RULES = [
    ("R = alice", ["read"]),
    ("RW+ = alice", ["write"]),
    # a tag is moved by +, and by nothing less
    ("RW = alice", ["write refs/tags/**=create refs/**=create,update"]),
    ("RW refs/tags/ = alice", ["write refs/tags/**=create"]),
    ("RW+ refs/tags/v = alice", [f"write refs/tags/v*={ALL} refs/tags/v*/**={ALL}"]),
    # a refex is anchored at its beginning
    ("RW m = alice", ["write refs/heads/m*=create,update refs/heads/m*/**=create,update"]),
    ("RW master$ = alice", ["write refs/heads/master=create,update"]),
    ("RW dev/ = alice", ["write refs/heads/dev/**=create,update"]),
    ("RW dev/.* = alice", ["write refs/heads/dev/**=create,update"]),
    (r"RW v1\.0$ = alice", ["write refs/heads/v1.0=create,update"]),
    ("RW a$ b$ = alice", ["write refs/heads/a=create,update refs/heads/b=create,update"]),
    ("RW+ personal/USER/ = alice", [f"write refs/heads/personal/alice/**={ALL}"]),
    # where C and D are used, the others give neither
    (
        "RWC a$ = alice\nRW b$ = alice",
        ["write refs/heads/a=create,update", "write refs/heads/b=update"],
    ),
    (
        "RW+D a$ = alice\nRW+ b$ = alice",
        [f"write refs/heads/a={ALL}", "write refs/heads/b=create,update,force"],
    ),
    ("RW+CD = alice", ["write"]),
    # where M is used, those without it may push no merges, which can't be told here
    (
        "RWM a$ = alice\nRW+ b$ = alice",
        ["write refs/heads/a=create,update", "write refs/heads/b=create,delete"],
    ),
    # a denial is for the rules behind it, and for those for whom it is
    ("- a$ = alice\nRW+ = alice", [f"write refs/heads/a=none refs/**={ALL}"]),
    ("RW+ = alice\n- a$ = alice", ["write"]),
    ("- a$ = bob\nRW+ = alice", ["write"]),
    ("- a$ = @all\nRW+ b$ = alice", [f"write refs/heads/b={ALL}"]),
    ("- = alice\nRW+ = alice\nR = alice", ["read", "read"]),
    # who has a role can't be told, nor who is in a group from elsewhere: it may be alice
    ("- = CREATOR\nRW+ = alice", ["read"]),
    ("- = @elsewhere\nRW+ = alice", ["read"]),
    ("- = alice\nR = alice\noption deny-rules = 1", []),
    ("- = alice\nR = alice\noption deny-rules = 0", ["read"]),
    ("R = alice\n- = alice\noption deny-rules = 1", ["read"]),
    # what can't be said is denied more widely, and given not at all
    (
        "- v.0$ = alice\nRW+ va$ = alice",
        [f"write refs/heads/v*=none refs/heads/v*/**=none refs/heads/va={ALL}"],
    ),
    ("- [ab] = alice\nRW+ a$ = alice", [f"write refs/heads/**=none refs/heads/a={ALL}"]),
    ("- a|b = alice\nRW+ refs/tags/ = alice", ["read"]),
    ("RW+ [ab] = alice", ["read"]),
    ("RW+ = alice\n- VREF/COUNT/9 = alice", ["read"]),
    ("RW+ = alice\n- NAME/secret = alice", ["read"]),
    ("RW+ = alice\nRW NAME/doc = alice", ["write"]),
    ("RW+ = alice\n- VREF/COUNT/9 = bob", ["write"]),
]


@pytest.mark.parametrize(("rules", "expected"), RULES, ids=[rules for rules, _ in RULES])
def test_what_becomes_of_a_rule(rules: str, expected: list[str]) -> None:
    found = entries(f"repo app\n{rules}\n")
    assert {(entry.who, entry.repositories) for entry in found} <= {(("alice",), ("app",))}
    said = [" ".join([entry.allow, *(entry.refs or ())]) for entry in found]
    assert said == [f"code:{text}" for text in expected]


# names of repositories, what becomes of them
REPOSITORIES = [
    ("app", ["app"]),
    ("app.git lib", ["app", "lib"]),
    ("@all", ["**"]),
    ("team/..* other/.*", ["team/**", "other/**"]),
    (".*", ["**"]),
    ("c++/x", ["c++/x"]),
    ("c++/..*", []),
    ("team/[a-z]+ CREATOR/..*", []),
    ("a//b", []),
]


@pytest.mark.parametrize(("names", "expected"), REPOSITORIES)
def test_what_becomes_of_a_repository(names: str, expected: list[str]) -> None:
    found = entries(f"repo {names}\nR = alice\n")
    assert [list(entry.repositories) for entry in found] == ([expected] if expected else [])


def test_groups_keep_their_names_where_they_can() -> None:
    text = """
    @devs = alice bob
    @devs = carol  # more of them
    @all-devs = @devs dave CREATOR
    @apps = a b
    @bob = erin
    repo @apps c
        R = @devs @all-devs @bob @nobody
        - x$ = alice
        RW+ = @devs
    """
    found = imported(text)
    assert found.groups == {
        "devs": ("alice", "bob", "carol"),
        "all-devs": ("alice", "bob", "carol", "dave"),
    }
    limited = ("refs/heads/x=none", "refs/**=create,update,force,delete")
    assert found.entries == (
        Entry(("devs", "all-devs", "erin"), ("a", "b", "c"), READ, None),
        Entry(("alice",), ("a", "b", "c"), WRITE, limited),
        Entry(("bob", "carol"), ("a", "b", "c"), WRITE, None),
    )


def test_what_can_not_be_carried_over_is_named_with_its_line() -> None:
    text = """repo app
    C = alice
    RW+ v[0-9] = alice
    RW+ personal/USER/ = @all
    RW = CREATOR
    R = daemon x:y @nobody
    - [ab] = bob
    RW+ = @all
    RWM = erin
    - VREF/COUNT/5 = carol
    RW = carol
    config hooks.mail = a@example.org
    desc = "An app"
    RW = bob
repo CREATOR/..*
    R = alice
"""
    assert remarks(text) == [
        (2, "C: there is no counterpart to making a repository by a push"),
        (3, "without M: to update is left out, as merges can't be told here"),
        (3, "refs/heads/v[0-9]: a regular expression that is no pattern here"),
        (4, "USER with @all: name those it is for"),
        (5, "CREATOR: is no account, and there is no counterpart"),
        (6, "daemon: is no account, and there is no counterpart"),
        (6, "x:y: can't be an account here"),
        (6, "@nobody: the group is not defined in this file"),
        (7, "refs/heads/[ab]: no pattern here; denied is all that begins with refs/heads/"),
        (8, "@all: what another line denies to some is denied to everybody here"),
        (8, "to read only: what a VREF would have looked at can't be looked at here"),
        (10, "VREF/COUNT/5: what is in a push is not looked at here"),
        (11, "to read only: what a VREF would have looked at can't be looked at here"),
        (12, "config hooks.mail = a@example.org: has no counterpart"),
        (13, 'desc = "An app": has no counterpart'),
        (14, "without M: to update is left out, as merges can't be told here"),
        (16, "CREATOR/..*: a wild repository, or no pattern that ours can say"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        'include "other.conf"',
        "subconf team",
        "macro allow",
        "=begin template-data",
        "RW+ = alice \\",
        "@devs = @unknown alice",
        "RW+ @unknown = alice",
        "option CREATE_IS_C = 0",
        "RWX = alice",
        "allow alice",
        'RW = alice "#',
    ],
)
def test_a_line_that_may_hold_a_denial_is_unreadable(line: str) -> None:
    [remark] = imported(f"repo app\n{line}\n").unreadable
    assert remark.line == 2


def test_comments_are_none_where_they_are_quoted() -> None:
    text = '# one\nrepo app # two\n  desc = "C# and F#" # three\n  R = alice#four\n'
    assert [entry.who for entry in entries(text)] == [("alice",)]
    assert remarks(text) == [(3, 'desc = "C# and F#": has no counterpart')]


@given(
    st.text()
    | st.lists(
        st.sampled_from(["repo", "RW", "-", "=", "@a", "x", "\n", "#", '"', "\\", "[", "$", ".*"])
    ).map(" ".join)
)
def test_any_text_is_read(text: str) -> None:
    imported(text)


# Held against gitolite's own procedure, in few words: Load.pm's access() and Update.pm's args().

GROUPS = {"@g": ["alice", "bob"], "@h": ["bob", "carol"], "@r": ["a", "t/c"]}
USERS = ["alice", "bob", "carol"]
REPOSITORY_NAMES = ["a", "t/b", "t/c", "t/u.v"]
REFS = [
    "refs/heads/m",
    "refs/heads/mx",
    "refs/heads/m/x",
    "refs/heads/p/bob/x",
    "refs/tags/m",
    "refs/heads/vx0",
]


@dataclass(frozen=True)
class Line:
    repositories: tuple[str, ...]
    permission: str
    refs: tuple[str, ...]
    users: tuple[str, ...]

    @property
    def text(self) -> str:
        rule = " ".join([self.permission, *self.refs, "=", *self.users])
        return f"repo {' '.join(self.repositories)}\n  {rule}\n"

    def is_for(self, repository: str, user: str) -> bool:
        repositories = [m for name in self.repositories for m in GROUPS.get(name, [name])]
        users = [member for name in self.users for member in GROUPS.get(name, [name])]
        is_there = "@all" in repositories or any(re.fullmatch(r, repository) for r in repositories)
        return is_there and ("@all" in users or user in users)

    @property
    def refexes(self) -> list[str]:
        full = [ref if re.match("refs/|VREF/", ref) else f"refs/heads/{ref}" for ref in self.refs]
        return full or ["refs/.*"]


@dataclass(frozen=True)
class Gitolite:
    """A configuration, as gitolite decides by it."""

    lines: list[Line]
    denies_reading: bool

    def permits(self, repository: str, user: str, verb: Verb | None, ref: str) -> bool:
        mine = [line for line in self.lines if line.is_for(repository, user)]
        if self._denies(mine, user, "W" if verb else "R", "any"):
            return False
        if verb is None:
            return True
        everybodys = [line for line in self.lines if any(line.is_for(repository, u) for u in USERS)]
        used = "".join(line.permission[2:] for line in everybodys)
        access = {
            Verb.CREATE: "C" if "C" in used else "W",
            Verb.UPDATE: "+" if "refs/tags/" in ref else "W",
            Verb.FORCE: "+",
            Verb.DELETE: "D" if "D" in used else "+",
        }[verb]
        # What a program says of a push can't be known: it may say no. So may a merge be in it.
        if any(refex.startswith("VREF/") for line in mine for refex in line.refexes):
            return False
        merges = ["", "M"] if "M" in used and verb in {Verb.UPDATE, Verb.FORCE} else [""]
        return not any(self._denies(mine, user, access + merge, ref) for merge in merges)

    def _denies(self, lines: list[Line], user: str, access: str, ref: str) -> bool:
        wanted = access.replace("+", r"\+").replace("M", ".*M")
        for permission, refex in [(line.permission, refex) for line in lines for refex in line.refexes]:
            if permission == "-" and ref == "any" and not self.denies_reading:
                continue
            if ref != "any" and not re.match(refex.replace("/USER/", f"/{user}/", 1), ref):
                continue
            if permission == "-":
                return True
            if re.search(wanted, permission):
                return False
        return True


PERMISSIONS = ["-", "-", "C", "R", "RW", "RW+", "RW+", "RWC", "RW+D", "RW+CD", "RWDC", "RWM", "RW+CDM"]
REFEXES = r"m m$ m/ mx refs/ refs/.* refs/t refs/tags$ refs/tags/ p/USER/ m.* v.0 v\.0 [mv] m|refs/tags"
WILD = ["a", "t/b", "@r", "@all", "t/..*", "t/[bc]", "t/u.v", "CREATOR/x"]


def some(texts: list[str], least: int = 1) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(texts), min_size=least, max_size=2).map(tuple)


LINE = st.builds(
    Line,
    some(WILD),
    st.sampled_from(PERMISSIONS),
    some([*REFEXES.split(), "VREF/COUNT/5"], least=0),
    some([*USERS, *GROUPS, "@all", "CREATOR", "daemon"]),
)


def rules_from(text: str) -> AccessRules:
    found = imported(text)
    assert found.unreadable == ()
    document: Any = document_of(found)
    read = AccessFile.model_validate(document)
    assert not list(rule_problems(read.groups or {}, read.access))
    return rules_of(read.groups, read.access, ["x"] * len(read.access))


EVERYTHING = [
    *product(REPOSITORY_NAMES, USERS, [None], [""]),
    *product(REPOSITORY_NAMES, USERS, Verb, REFS),
]


@given(st.lists(LINE, max_size=5), st.booleans())
def test_an_import_never_gives_more(lines: list[Line], denies_reading: bool) -> None:
    groups = "".join(f"{name} = {' '.join(members)}\n" for name, members in GROUPS.items())
    option = "repo @all\n  option deny-rules = 1\n" if denies_reading else ""
    rules = rules_from(groups + option + "".join(line.text for line in lines))
    gitolite = Gitolite(lines, denies_reading)
    for repository, user, verb, ref in EVERYTHING:
        service = "git-receive-pack" if verb else "git-upload-pack"
        operation = operation_of("GET", f"/{repository}/info/refs", f"service={service}")
        token = a_token(account=user, scopes=frozenset({"code:write"}))
        attempt = Attempt(operation, token, an_account(name=user), None, NOW, rules.of_account(user))
        found = chain(checks(attempt), ref_checks(attempt, ref, verb) if verb else ())
        if not any(check.refusal for check in found):
            assert gitolite.permits(repository, user, verb, ref), (repository, user, verb, ref)
