"""`gitpat-proxy demo`: everything from nothing, to try it out."""

import itertools
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gitpat_proxy.access.identifier import make_id
from gitpat_proxy.access.model import Author, Status, Token
from gitpat_proxy.cli.context import Invocation, Services
from gitpat_proxy.cli.serve import serve_in_foreground
from gitpat_proxy.config.loader import load
from gitpat_proxy.config.model import Config
from gitpat_proxy.config.values import ListenAddress
from gitpat_proxy.services.token_facts import TokenFacts

_ACCOUNT = "demo"
_AUTHOR = Author("demo")
_COMMITS = 3000
_BRANCHES = 4
_CHECKOUT = Path(__file__).parents[2]

_CONFIG = """\
# Made by `gitpat-proxy demo`. config.example.yaml shows every key.
listen: 127.0.0.1:{port}
public_url: http://127.0.0.1:{port}
database: sqlite:///gitpat.db
scopes:
  work_items:read: Work items (read)
routes:
  - path: /
    repositories: repositories
"""


@dataclass(frozen=True)
class DemoToken:
    """A token of the demo; its secret is there only in the run that made it."""

    token: Token
    secret: str | None


def demo(
    directory: Annotated[Path, typer.Option(help="Where it all is.", metavar="DIR")] = Path("demo"),
    port: Annotated[int | None, typer.Option(help="Where it listens.", min=1, max=65535)] = None,
) -> None:
    """Make repositories, a configuration, an account and two tokens; say what to try; serve."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "config.yaml"
    if not file.exists():
        (directory / "repositories").mkdir(exist_ok=True)
        file.write_text(_CONFIG.format(port=port or 8418), encoding="utf-8")
    invocation = Invocation(file)
    config = _on_port(invocation.config, port)
    _make_repositories(directory / "repositories")

    async def show() -> None:
        """Only now, when nothing can go wrong any more, are secrets made and shown."""
        async with invocation.services() as services:
            password = await _new_password(services)
            read = await _token(services, "Demo (read)", "code:read")
            write = await _token(services, "Demo (write)", "code:write")
        print(_what_to_try(config.public_url, file, password, read, write), flush=True)

    serve_in_foreground(config, lambda: _on_port(load(file), port), show)


def _on_port(config: Config, port: int | None) -> Config:
    """Listen on another port in this run."""
    if port is None:
        return config
    return config.model_copy(
        update={
            "listen": (ListenAddress("127.0.0.1", port),),
            "public_url": f"http://127.0.0.1:{port}",
        }
    )


async def _new_password(services: Services) -> str | None:
    """Return the password that the account gets in this run; None if it has one."""
    accounts = {account.name: account for account in await services.accounts.listed()}
    if _ACCOUNT in accounts and accounts[_ACCOUNT].has_password:
        return None
    password = make_id()
    if _ACCOUNT in accounts:
        await services.accounts.set_password(_ACCOUNT, password, by=_AUTHOR)
    else:
        await services.accounts.add(
            _ACCOUNT, administrator=True, service=False, password=password, by=_AUTHOR
        )
    return password


async def _token(services: Services, name: str, scope: str) -> DemoToken:
    """Find the token of that name that is still alive, or make one."""
    for token in await services.tokens.listed(_ACCOUNT, Status.ACTIVE):
        if token.name == name:
            return DemoToken(token, None)
    facts = TokenFacts(name=name, scopes=[scope])
    secret, token = await services.tokens.create(_ACCOUNT, facts, by=_AUTHOR)
    return DemoToken(token, secret)


# --- the repositories ----------------------------------------------------------------------------


def _make_repositories(folder: Path) -> None:
    _make(folder / "example.git", _make_example)
    if (_CHECKOUT / ".git").exists():
        _make(folder / "gitpat-proxy.git", _clone_checkout)


def _make(path: Path, fill: Callable[[Path], None]) -> None:
    """Make a repository beside, so that one that is there is complete."""
    if path.exists():
        return
    unfinished = path.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    fill(unfinished)
    unfinished.rename(path)


def _make_example(path: Path) -> None:
    _git("init", "--quiet", "--bare", "--initial-branch=main", str(path))
    _git("-C", str(path), "fast-import", "--quiet", stdin="".join(_history()).encode())


def _clone_checkout(path: Path) -> None:
    _git("clone", "--quiet", "--bare", "--no-local", str(_CHECKOUT), str(path))


def _history() -> Iterator[str]:
    """A stream for `git fast-import`: commits on main, branches off it, and tags along the way."""
    for number in range(1, _COMMITS + 1):
        branch = f"topic-{number % _BRANCHES}" if number > _COMMITS - 40 * _BRANCHES else "main"
        yield from _commit(number, branch)
        if number % 500 == 0:
            tag = f"v1.{number // 500}"
            yield f"tag {tag}\nfrom refs/heads/{branch}\n{_person('tagger', number)}"
            yield f"data {len(tag)}\n{tag}\n"


def _commit(number: int, branch: str) -> Iterator[str]:
    message = f"Change number {number}\n"
    content = "".join(f"Line {line} as of change {number}\n" for line in range(number % 20 + 1))
    yield f"commit refs/heads/{branch}\n{_person('committer', number)}"
    yield f"data {len(message)}\n{message}"
    first_of_topic = number > _COMMITS - 40 * _BRANCHES and number <= _COMMITS - 39 * _BRANCHES
    if first_of_topic:
        yield "from refs/heads/main\n"
    yield f"M 100644 inline src/part-{number % 50}/file-{number % 7}.txt\n"
    yield f"data {len(content)}\n{content}\n"


def _person(role: str, number: int) -> str:
    people = ["Ada", "Grace", "Linus", "Barbara"]
    name = people[number % len(people)]
    return f"{role} {name} <{name.lower()}@example.org> {1700000000 + number * 3600} +0000\n"


def _git(*arguments: str, stdin: bytes | None = None) -> None:
    try:
        result = subprocess.run(["git", *arguments], input=stdin, capture_output=True, check=False)  # noqa: S603, S607 - arguments of ours, no shell
    except FileNotFoundError:
        raise FileNotFoundError("git is not installed, or not on the search path") from None
    if result.returncode != 0:
        said = result.stderr.decode("utf-8", "replace").strip()
        raise OSError(f"git {arguments[0]} failed: {said}")


# --- what it says --------------------------------------------------------------------------------


def _what_to_try(url: str, file: Path, password: str | None, read: DemoToken, write: DemoToken) -> str:
    lines = [
        "",
        f"gitpat-proxy serves {file.parent / 'repositories'} at {url}/",
        "",
        *_sign_in_steps(url, file, password),
        "",
        "Paste this into another terminal, line by line. (In earnest, let git ask, and store the token",
        "in a credential helper: docs/clients.md.)",
        "",
        *_steps(file, read, lambda secret: _read_steps(url, secret, _clone_in(file.parent, "read"))),
        *_steps(file, write, lambda secret: _write_steps(url, secret, _clone_in(file.parent, "write"))),
        "Take the right to push away from that token; its next push is refused. Then revoke it:",
        _command(file, f"token edit {write.token.id} --scope code:read"),
        _command(file, f"token revoke {write.token.id}"),
        "",
        "Who did what:",
        _command(file, "audit"),
        "",
        'Ctrl-C ends it. Your own repositories: README.md, "Before your own repositories".',
        "",
    ]
    return "\n".join(lines)


def _sign_in_steps(url: str, file: Path, password: str | None) -> list[str]:
    page = f"Make, change and revoke tokens in a browser: {url}/-/"
    if password:
        return [page, f"  name      {_ACCOUNT}", f"  password  {password}"]
    return [
        f"{page} as {_ACCOUNT}.",
        "Its password was shown when it was made. A new one:",
        _command(file, f"account password {_ACCOUNT}"),
    ]


def _steps(file: Path, demo_token: DemoToken, steps: Callable[[str], list[str]]) -> list[str]:
    if demo_token.secret:
        return [*steps(demo_token.secret), ""]
    token = demo_token.token
    return [
        f"The secret of {token.label} was shown when it was made. A new one, which git takes as the",
        "password for any username:",
        _command(file, f"token rotate {token.id}"),
        "",
    ]


def _read_steps(url: str, secret: str, clone: str) -> list[str]:
    return [
        "Clone with the token that may read; its push is refused, with the reason:",
        f"  git clone {_address(url, secret)} {clone}",
        f"  git -C {clone} push origin main:refs/heads/mine",
    ]


def _write_steps(url: str, secret: str, clone: str) -> list[str]:
    return [
        "Clone with the token that may write, commit, push:",
        f"  git clone {_address(url, secret)} {clone}",
        f"  git -C {clone} config user.name You",
        f"  git -C {clone} config user.email you@example.org",
        f'  git -C {clone} commit --allow-empty --message "My first change"',
        f"  git -C {clone} push",
    ]


def _clone_in(folder: Path, name: str) -> str:
    """Return a path in which no earlier run has left its clone, for a shell in any folder."""
    first = folder.absolute() / f"clone-{name}"
    later = (Path(f"{first}-{number}") for number in itertools.count(2))
    return shlex.quote(str(next(path for path in itertools.chain([first], later) if not path.exists())))


def _address(url: str, secret: str) -> str:
    return f"{url.replace('://', f'://anyone:{secret}@')}/example.git"


def _command(file: Path, arguments: str) -> str:
    """Name the program and the file so that it works from any folder, also out of .venv."""
    program = shutil.which(sys.argv[0]) or "gitpat-proxy"
    words = [str(Path(program).absolute()), "--config", str(file.absolute())]
    return f"  {shlex.join(words)} {arguments}"
