"""Pushes with a token that may change some refs alone, over a folder of repositories and upstream."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.faults_git import running
from tests.support.git import Git, Outcome, commit, make_repository
from tests.support.proxy import Proxy
from tests.support.raw import exchange, service_request

ROUTES = ["folder", "upstream"]
"""Both lead to the same repositories; this upstream is said to protect history, `unknown` is not."""

_numbers = itertools.count(1)


class Site:
    """A proxy, and another one behind it that serves the same folder without limits."""

    def __init__(self, proxy: Proxy, server: Proxy) -> None:
        self.proxy = proxy
        self.server = server

    def pusher(self, route: str, *rules: str, options: tuple[str, ...] = (), **git: Any) -> "Pusher":
        return Pusher(self, route, rules, options, git)


@contextmanager
def site_below(folder: Path) -> Iterator[Site]:
    """Run both as long as the block runs."""
    with running(folder / "server") as server:
        password = folder / "password"
        password.write_text(server.make_token("code:write")[0])
        upstream = {
            "upstream": server.url,
            "upstream_username": "proxy",
            "upstream_password_file": str(password),
        }
        routes = [
            {"path": "/folder", "repositories": str(server.repositories)},
            {"path": "/upstream", "upstream_protects_history": True, **upstream},
            {"path": "/unknown", **upstream},
        ]
        with running(folder / "proxy", routes=routes) as proxy:
            yield Site(proxy, server)


class Pusher:
    """Somebody with a clone of a repository of their own and a token with these rules for refs."""

    def __init__(
        self,
        site: Site,
        route: str,
        rules: tuple[str, ...],
        options: tuple[str, ...],
        git: dict[str, Any],
    ) -> None:
        self.site = site
        self.name = f"app{next(_numbers)}"
        self.path = f"{route}/{self.name}"
        self.repository = make_repository(site.server.repositories / f"{self.name}.git", options=options)
        self.secret, _ = site.proxy.make_token("code:write", name="ci-agent", refs=rules or None)
        self.git = Git(site.proxy.home(self.name), self.secret, **git)
        self.url = f"{site.proxy.url}/{self.path}"
        self.git("clone", "--quiet", self.url, "work")
        self.work = self.git.home / "work"
        self._served = 0
        self._commits = 0

    def commit(self) -> str:
        """Commit something new; return its id."""
        self._commits += 1
        return commit(self.git, self.work, content=f"{self._commits}\n".encode())

    def rewrite(self) -> str:
        """Put another commit in the place of the last."""
        self._commits += 1
        self.git("commit", "--quiet", "--amend", f"--message={self._commits}", cwd=self.work)
        return self.git("rev-parse", "HEAD", cwd=self.work).strip()

    def push(self, *arguments: str) -> Outcome:
        self._served = len(self._pushes_served())
        return self.git.try_("push", "origin", *arguments, cwd=self.work)

    def post(self, body: bytes, *headers: str) -> bytes:
        """Send what git would not, as a push; return the answer."""
        self._served = len(self._pushes_served())
        request = service_request("git-receive-pack", self.secret, body, *headers, repository=self.path)
        return exchange(self.site.proxy.port, request)

    def refs(self) -> dict[str, str]:
        """Return what the repository has, by the refs' full names."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)", cwd=self.repository)
        return dict(line.split() for line in lines.splitlines())

    def audit(self) -> list[dict[str, Any]]:
        """Return what the audit has of the pushes."""
        events = self.site.proxy.audit_of(1, "--repository", self.path)
        return [event for event in events if event["event"] in {"push", "refused"}]

    def last_line(self) -> dict[str, Any]:
        lines = self.site.proxy.log_lines()
        return next(line for line in reversed(lines) if line["repository"] == self.path)

    def was_forwarded(self) -> bool:
        """Tell whether the server behind, where there is one, has seen the last push."""
        return len(self._pushes_served()) > self._served

    def _pushes_served(self) -> list[dict[str, Any]]:
        return [
            line
            for line in self.site.server.log_lines()
            # Before a large push git tries with four bytes whether it may.
            if line["repository"] == self.name
            and (line["service"], line["kind"]) == ("git-receive-pack", "rpc")
            and line["bytes_in"] > 4
        ]
