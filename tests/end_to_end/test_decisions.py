"""Rows of the table of decisions with the real git, before a folder and before another Git server.

Each row is one git command; what it came to is its exit code, and the code in the log.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitpat_proxy.access.refs import Verb
from gitpat_proxy.access.refusal import Code
from tests.access.decisions import RULES, Row, rows
from tests.support.git import Git, commit, make_repository
from tests.support.proxy import Proxy

_A_NEW_REF = "refs/heads/agent/new"
"""What a row pushes that says nothing of refs: all who may push may create it."""
REPOSITORIES = ["team/app", "team/secret", "team/sub/lib", "other/app", "public/site"]
ROWS = [row for row in rows() if row.with_git]


@dataclass(frozen=True)
class Installation:
    """Proxies by their rules, before the same repositories."""

    proxies: dict[str, Proxy]
    repositories: Path


@contextmanager
def installed(folder: Path, *, is_upstream: bool) -> Iterator[Installation]:
    behind = Proxy(folder / "behind")
    started = [behind]
    for name in REPOSITORIES:
        make_repository(behind.repositories / f"{name}.git")
    route: dict[str, str] = {"path": "/", "repositories": str(behind.repositories)}
    if is_upstream:
        password = folder / "password"
        password.write_text(behind.start().make_token("code:write")[0])
        route = {"path": "/", "upstream": behind.url, "upstream_username": "proxy"}
        route |= {"upstream_password_file": str(password)}
    proxies: dict[str, Proxy] = {}
    for rules in dict.fromkeys(row.rules for row in ROWS):
        proxies[rules] = Proxy(folder / rules, routes=[route], **RULES.get(rules, {})).start()
        started.append(proxies[rules])
    yield Installation(proxies, behind.repositories)
    for proxy in started:
        if proxy.process:
            proxy.stop()


@pytest.fixture(scope="module")
def before_a_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("folder"), is_upstream=False) as installation:
        yield installation


@pytest.fixture(scope="module")
def before_a_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("server"), is_upstream=True) as installation:
        yield installation


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.text)
def test_a_row_before_a_folder(before_a_folder: Installation, row: Row, tmp_path: Path) -> None:
    assert_row(before_a_folder, row, tmp_path)


# Where nobody can tell an update from force, it needs both: see test_ref_limits.
@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.verb is not Verb.UPDATE], ids=lambda row: row.text
)
def test_a_row_before_a_server(before_a_server: Installation, row: Row, tmp_path: Path) -> None:
    assert_row(before_a_server, row, tmp_path)


def assert_row(installation: Installation, row: Row, tmp_path: Path) -> None:
    proxy = installation.proxies[row.rules]
    [limits] = row.lineage
    given = {"repositories": limits.repositories, "refs": limits.refs}
    facts = {name: value for name, value in given.items() if value}
    git = Git(tmp_path / "home", proxy.make_token(*limits.scopes, account=row.account, **facts)[0])
    command = ["ls-remote"]
    if row.word == "push":
        command = _push(installation.repositories / f"{row.repository}.git", git, row)
    lines = len(proxy.log_lines())
    (git.home / "work").mkdir(exist_ok=True)
    outcome = git.try_(*command, f"{proxy.url}/{row.repository}", *_refspec(row), cwd=git.home / "work")
    codes = [line["code"] for line in proxy.log_lines()[lines:]]
    # The first request of git's has no credentials.
    refusals = [code for code in codes if code not in {None, Code.CREDENTIALS_MISSING}]
    if row.code == Code.REF_DENIED:
        assert (outcome.ok, "[remote rejected]" in outcome.text) == (False, True), outcome.text
    else:
        assert (outcome.ok, refusals[:1]) == (row.code is None, [row.code] if row.code else [])


def _refspec(row: Row) -> list[str]:
    if row.word != "push":
        return []
    if row.verb is None:
        return [f"HEAD:{_A_NEW_REF}"]
    return [
        {Verb.DELETE: f":{row.ref}", Verb.FORCE: f"+HEAD:{row.ref}"}.get(row.verb, f"HEAD:{row.ref}")
    ]


def _push(bare: Path, git: Git, row: Row) -> list[str]:
    """Make a clone with a commit to push, and the ref as the row wants it to be; return the command."""
    git("clone", "--quiet", str(bare), "work")
    work = git.home / "work"
    ref = row.ref or _A_NEW_REF
    if row.verb in {None, Verb.CREATE}:
        git("update-ref", "-d", ref, cwd=bare)
    elif row.verb:
        git("update-ref", ref, "HEAD", cwd=bare)
    if row.verb is Verb.FORCE:
        git("reset", "--quiet", "--hard", "HEAD~1", cwd=work)
    commit(git, work, "new.txt", row.text.encode())
    return ["push"]
