"""docs/refusals.md shows what `git push` prints; with GITPAT_WRITE_REFUSALS=1 it is written anew."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.pushes import Pusher, Site, site_below

PAGE = Path(__file__).parents[2] / "docs" / "refusals.md"
HEAD = """# What `git push` prints when it is refused

Made by `tests/end_to_end/test_refusals_page.py`, which fails when git prints anything else. Where the
proxy refuses one ref of a push nothing of that push is done, with `--atomic` or without. The request's
id finds the refusal in the audit and in the log. Below each title stands what the token was made with.
"""
AGENT = ("refs/heads/agent/**=create,update,force,delete",)


@dataclass(frozen=True)
class Case:
    """A push, what is to be known of it, and the rules (`--ref`) of the token that is used."""

    title: str
    words: str
    arguments: str
    rules: tuple[str, ...] = AGENT
    route: str = "folder"
    scope: str = "code:write"
    repositories: tuple[str, ...] | None = None
    revoked: bool = False
    rewritten: bool = False


CASES = [
    Case(
        "A ref that the token may not change",
        "The others are not pushed either.",
        "git push origin main main:agent/topic",
    ),
    Case("A ref that the token may not create", "", "git push origin main:feature"),
    Case("A ref that the token may not delete", "", "git push origin --delete old"),
    Case(
        "A tag",
        "Tags and notes are refs like others.",
        "git push origin v1",
        ("refs/heads/**", "refs/notes/**"),
    ),
    Case(
        "An update that is no fast-forward",
        "Over a folder of repositories git itself refuses it, in a push of which one branch may not be\n"
        "forced for all branches; what else is pushed with them is done.",
        "git push --force origin main",
        ("refs/heads/**",),
        rewritten=True,
    ),
    Case(
        "An update of what is no branch",
        "git tells only of branches whether it is a fast-forward, so elsewhere an update needs `force`.",
        "git push --force origin main:refs/tags/v0",
        ("refs/heads/**", "refs/tags/**=create,update"),
    ),
    Case(
        "An update before an upstream",
        "The proxy can't look into the upstream's history. An update needs `force`, or in the route\n"
        "`upstream_protects_history: true`, which says that the upstream itself refuses what is no\n"
        "fast-forward.",
        "git push origin main",
        ("refs/heads/**=create,update",),
        route="unknown",
    ),
    Case(
        "A symbolic ref",
        "git would change what it stands for.",
        "git push origin main:agent/alias",
    ),
    Case(
        "A token without `code:write`",
        "What holds for the whole push is told before anything is sent.",
        "git push origin main",
        scope="code:read",
    ),
    Case(
        "A repository outside the token's reach",
        "As if it did not exist.",
        "git push origin main",
        repositories=("team/**",),
    ),
    Case("A token that was revoked", "", "git push origin main", revoked=True),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_below(tmp_path_factory.mktemp("site")) as site:
        yield site


def printed(site: Site, case: Case) -> str:
    pusher = site.pusher(case.route)
    git = pusher.git
    for ref, target in [("refs/heads/old", "main"), ("refs/tags/v0", "main")]:
        git("update-ref", ref, target, cwd=pusher.repository)
    git("symbolic-ref", "refs/heads/agent/alias", "refs/heads/main", cwd=pusher.repository)
    pusher.commit()
    git("tag", "v1", cwd=pusher.work)
    if case.rewritten:
        git("push", "--quiet", "origin", "main", cwd=pusher.work)
        pusher.rewrite()
    secret, token = site.proxy.make_token(
        case.scope, name="ci-agent", refs=case.rules, repositories=case.repositories
    )
    if case.revoked:
        site.proxy.ok("token", "revoke", token.id, "--reason", "leaked")
    git.use(secret)
    before = pusher.refs()
    outcome = git.try_(*case.arguments.split()[1:], cwd=pusher.work)
    assert not outcome.ok
    assert pusher.refs() == before
    return normalised(outcome.text, pusher)


def normalised(text: str, pusher: Pusher) -> str:
    """Put fixed words for what differs from run to run."""
    for pattern, replacement in [
        (re.escape(f"{pusher.site.proxy.url}/{pusher.path}"), "https://git.example.org/team/app"),
        (re.escape(pusher.site.proxy.url), "https://git.example.org"),
        (re.escape(pusher.path), "team/app"),
        (r"request [0-9a-f]{12}", "request 5f0c2b7d9e41"),
        (r"\b[a-z]{5}-[a-z]{5}\b", "lusab-babad"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "2026-03-14 15:09 UTC"),
        (r"[ \t]+$", ""),
    ]:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def section(site: Site, case: Case) -> str:
    rules = "".join(f" --ref '{rule}'" for rule in case.rules)
    limits = "".join(f" --repository '{pattern}'" for pattern in case.repositories or ())
    return "\n".join(
        [
            f"## {case.title}\n",
            *([f"{case.words}\n"] if case.words else []),
            f"`--scope {case.scope}{limits}{rules}`\n",
            f"```console\n$ {case.arguments}\n{printed(site, case).strip()}\n```\n",
        ]
    )


def test_the_page_shows_what_git_prints(site: Site) -> None:
    page = "\n".join([HEAD, *(section(site, case) for case in CASES)])
    if os.environ.get("GITPAT_WRITE_REFUSALS"):
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page
