"""What the load falls on: a proxy, a second one as its upstream, and the repositories of both."""

import http.client
import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bench.repositories import QUICK, repositories
from bench.soak.ledger import UnexpectedError
from tests.support.git import Git
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN

UPSTREAM = "upstream/"
"""What the addresses of the repositories begin with that the second proxy serves."""
_FRONT = {
    "small": "small",
    "app": "small",
    "commits": "commits",
    "references": "references",
    "large": "large",
    "pushed": "commits",
    "victim": "large",
}
_BEHIND = {"small": "small", "app": "small", "large": "large", "pushed": "commits"}
"""What each repository is a copy of. `app` is where the corpus of raw requests goes, `victim` where git
is killed; only `pushed` and `victim` change."""
_DOWN_SECONDS = 0.5


class Site:
    """Both proxies; `over` is set when the load is to end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.over = threading.Event()
        self.upstream = Proxy(folder / "upstream")
        password = folder / "upstream-password"
        self.front = Proxy(
            folder / "front",
            routes=[
                {"path": "/", "repositories": "repositories"},
                {
                    "path": "/upstream",
                    "upstream": f"{self.upstream.url}/",
                    "upstream_username": "soak",
                    "upstream_password_file": str(password),
                },
            ],
        )
        self._fill()
        self.heads = dict(self._heads())
        self._down: list[tuple[float, float]] = []
        self._disturbing = threading.Lock()
        self.upstream.ok("database", "upgrade")
        password.write_text(self.upstream.make_token("code:write")[0])
        self.front.ok("database", "upgrade")
        self.reader, _ = self.front.make_token("code:read")
        self.writer, _ = self.front.make_token("code:write")
        self.manager, _ = self.front.make_token("code:write", "tokens:write", "work_items:read")

    @property
    def proxies(self) -> tuple[Proxy, Proxy]:
        return self.front, self.upstream

    def start(self) -> None:
        for proxy in (self.upstream, self.front):
            proxy.start()

    def stop(self) -> None:
        """Kill what is still running, whatever has happened before."""
        for proxy in self.proxies:
            if proxy.process:
                proxy.stop(signal.SIGKILL)

    def url(self, repository: str) -> str:
        return f"{self.front.url}/{repository}"

    def git(self, name: str, secret: str, **config: str) -> Git:
        """Return the git of somebody with this token, in an empty home of its own."""
        home = self.folder / "homes" / name
        shutil.rmtree(home, ignore_errors=True)
        return Git(home, secret, config={"gc.auto": "0", **config})

    def api(self, secret: str, method: str, path: str, *, due: int, **fields: Any) -> Any:  # noqa: ANN401 - JSON
        """Call the API; return what it answers, raise UnexpectedError if that is not the status due."""
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        status, body = self.http(
            method, f"/-/api/v1{path}", headers, json.dumps(fields) if fields else None
        )
        if status != due:
            raise UnexpectedError(f"status {status}", f"{method} {path}: {due} was due: {body[:500]!r}")
        return json.loads(body) if body else None

    def http(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.front.port, timeout=60)) as connection:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()

    def make_token(self, *scopes: str, expires: str = "1h") -> tuple[str, str]:
        """Make a token over the API; return its secret and id."""
        fields = {"name": "Soak", "scopes": list(scopes), "expires": expires}
        made = self.api(self.manager, "POST", "/tokens", due=201, **fields)
        SEEN.secrets.add(made["token"])
        return made["token"], made["id"]

    def kill_front(self) -> None:
        """End the proxy without a word, and start it again."""
        with self._disturbing:
            began = time.monotonic()
            self._down.append((began, float("inf")))
            self.front.stop(signal.SIGKILL)
            time.sleep(_DOWN_SECONDS)
            self.front.start()
            self._down[-1] = (began, time.monotonic())

    def reload_front(self) -> None:
        """Let it read its configuration again."""
        # Not while it starts: until it listens for the signal, that ends it.
        with self._disturbing:
            if self.front.process:
                self.front.process.send_signal(signal.SIGHUP)

    def was_down_since(self, moment: float) -> bool:
        return any(end >= moment for _, end in self._down)

    def repositories(self) -> Iterator[tuple[str, Path]]:
        """Yield all repositories, each with its address on the front."""
        for proxy, prefix in ((self.front, ""), (self.upstream, UPSTREAM)):
            for path in sorted(proxy.repositories.glob("*.git")):
                yield prefix + path.stem, path

    def refs(self, repository: str) -> dict[str, str]:
        """Return the refs of a repository as they are on the server."""
        format_ = "--format=%(refname) %(objectname)"
        lines = run_git(dict(self.repositories())[repository], "for-each-ref", format_).splitlines()
        return dict(line.split() for line in lines)

    def _fill(self) -> None:
        served = repositories(QUICK).served
        for proxy, copies in ((self.front, _FRONT), (self.upstream, _BEHIND)):
            for name, source in copies.items():
                shutil.copytree(served / f"{source}.git", proxy.repositories / f"{name}.git")
        for _, path in self.repositories():
            # Their maintenance is a task of its own here, and no process that outlives a push.
            run_git(path, "config", "receive.autogc", "false")

    def _heads(self) -> Iterator[tuple[str, str]]:
        for name, path in self.repositories():
            yield name, run_git(path, "rev-parse", "refs/heads/main").strip()


def run_git(repository: Path, *arguments: str) -> str:
    """Run git in a repository on the server, as its operator does; raise UnexpectedError if it fails."""
    result = subprocess.run(
        ["git", "-C", str(repository), *arguments], capture_output=True, check=False, text=True
    )
    if result.returncode != 0:
        text = f"git {' '.join(arguments)} in {repository.name}: {result.stdout}{result.stderr}"
        raise UnexpectedError(f"git {arguments[0]}", text)
    return result.stdout


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Give a folder that is not there, and leave none."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
