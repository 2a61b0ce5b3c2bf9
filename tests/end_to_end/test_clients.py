"""Other clients than the bare git command, and what credential helpers do with an answer."""

from pathlib import Path

import git as gitpython
import pygit2
import pytest
from dulwich import porcelain

from gitpat_proxy.access.model import Author
from gitpat_proxy.access.secret import make_secret
from tests.support.git import Git, make_repository
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN

RECORDER = """#!/bin/sh
echo "$1" >>"$HOME/asked"
[ "$1" != get ] || { echo username=anyone; printf 'password=%s\\n' "$(cat "$HOME/secret")"; }
cat >/dev/null
"""


@pytest.fixture
def address(shared_proxy: Proxy) -> str:
    return f"{shared_proxy.url}/team/app"


def recording(git: Git) -> Git:
    """Give the git a credential helper that writes down what it was asked to do."""
    helper = git.home / "recorder"
    helper.write_text(RECORDER)
    helper.chmod(0o700)
    git.config["credential.helper"] = str(helper)
    git.prompts = False
    return git


def asked(git: Git) -> list[str]:
    words = (git.home / "asked").read_text().split()
    (git.home / "asked").unlink()
    return words


def test_a_helper_is_told_to_keep_a_good_token_and_to_forget_a_refused_one(
    shared_proxy: Proxy, address: str
) -> None:
    git = recording(shared_proxy.git("code:read", home="recorded"))
    git("ls-remote", address)
    assert asked(git) == ["get", "store"]
    git.use(shared_proxy.make_token("work_items:read")[0])
    git.try_("ls-remote", address)
    assert asked(git) == ["get", "erase"]
    git.use(make_secret())
    SEEN.secrets.add(git.secret)
    git.try_("ls-remote", address)
    assert asked(git) == ["get", "erase"]
    git.use(shared_proxy.make_token("code:read")[0])
    git.try_("ls-remote", f"{address}-missing")
    assert asked(git) == ["get"]


def test_403_lets_the_helper_keep_a_token_that_lacks_the_scope(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "proxy", missing_scope_status=403).start()
    try:
        make_repository(proxy.repositories / "app.git")
        git = recording(proxy.git("work_items:read"))
        git.try_("ls-remote", f"{proxy.url}/app")
        assert asked(git) == ["get"]
    finally:
        proxy.stop()


@pytest.mark.parametrize("helper", ["store", "cache"])
def test_gits_own_helpers(shared_proxy: Proxy, address: str, helper: str) -> None:
    secret, token = shared_proxy.make_token("code:read")
    git = Git(shared_proxy.home(helper), secret, config={"credential.helper": helper})
    try:
        git("ls-remote", address)
        git.prompts = False
        git("ls-remote", address)
        shared_proxy.services(
            lambda services: services.tokens.revoke([token.id], None, by=Author("test"))
        )
        assert "was revoked on" in git.try_("ls-remote", address).text
        forgotten = git.try_("ls-remote", address).text
        assert "could not read Username" in forgotten
    finally:
        if helper == "cache":
            git("credential-cache", "exit")


def test_a_username_in_the_address_changes_nothing(shared_proxy: Proxy, address: str) -> None:
    git = shared_proxy.git("code:read", home="named")
    git("ls-remote", address.replace("://", "://somebody@"))


def test_dulwich(shared_proxy: Proxy, address: str, tmp_path: Path) -> None:
    secret, _ = shared_proxy.make_token("code:write")
    credentials = {"username": "anyone", "password": secret}
    with porcelain.clone(
        address, str(tmp_path / "work"), errstream=porcelain.NoneStream(), **credentials
    ) as repository:
        (tmp_path / "work" / "dulwich.txt").write_text("dulwich")
        porcelain.add(repository, [str(tmp_path / "work" / "dulwich.txt")])
        head = porcelain.commit(repository, message=b"From dulwich", author=b"A <a@example.org>")
        porcelain.push(
            repository,
            address,
            "HEAD:refs/heads/dulwich",
            errstream=porcelain.NoneStream(),
            outstream=porcelain.NoneStream(),
            **credentials,
        )
    git = Git(shared_proxy.home("checks"))
    path = shared_proxy.repositories / "team" / "app.git"
    assert git("rev-parse", "dulwich", cwd=path).strip() == head.decode()
    reader, _ = shared_proxy.make_token("work_items:read")
    with pytest.raises(Exception, match="No valid credentials"):
        porcelain.ls_remote(address, username="anyone", password=reader)


class Credentials(pygit2.RemoteCallbacks):
    def __init__(self, secret: str) -> None:
        super().__init__(credentials=pygit2.UserPass("anyone", secret))
        self.refused: dict[str, str | None] = {}

    def push_update_reference(self, refname: str, message: str | None) -> None:
        self.refused[refname] = message


def test_pygit2(shared_proxy: Proxy, address: str, tmp_path: Path) -> None:
    secret, _ = shared_proxy.make_token("code:write")
    callbacks = Credentials(secret)
    repository = pygit2.clone_repository(address, str(tmp_path / "work"), callbacks=callbacks)
    author = pygit2.Signature("A", "a@example.org")
    tree = repository.head.peel(pygit2.Commit).tree_id
    head = repository.create_commit(
        "refs/heads/pygit2", author, author, "From libgit2", tree, [repository.head.target]
    )
    repository.remotes["origin"].push(["refs/heads/pygit2"], callbacks=callbacks)
    assert callbacks.refused == {"refs/heads/pygit2": None}
    git = Git(shared_proxy.home("checks"))
    path = shared_proxy.repositories / "team" / "app.git"
    assert git("rev-parse", "pygit2", cwd=path).strip() == str(head)
    reader, _ = shared_proxy.make_token("code:read")
    with pytest.raises(pygit2.GitError, match=r"(?i)authentication|401"):
        repository.remotes["origin"].push(["refs/heads/pygit2"], callbacks=Credentials(reader))


def test_gitpython(shared_proxy: Proxy, address: str, tmp_path: Path) -> None:
    git = shared_proxy.git("code:write", home="gitpython")
    with gitpython.Repo.clone_from(address, tmp_path / "work", env=git.environment) as repository:
        repository.git.update_environment(**git.environment)
        repository.index.commit("From GitPython")
        [pushed] = repository.remote().push("HEAD:refs/heads/gitpython")
        assert pushed.flags & pushed.NEW_HEAD
    git.use(shared_proxy.make_token("work_items:read")[0])
    with pytest.raises(gitpython.GitCommandError, match="needs code:read"):
        gitpython.Repo.clone_from(address, tmp_path / "refused", env=git.environment)
