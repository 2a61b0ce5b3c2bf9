"""What git can do over HTTP, done through the proxy."""

import os
import subprocess
from itertools import count
from pathlib import Path

import pytest

from tests.support.git import Git, Outcome, commit, make_repository
from tests.support.proxy import Proxy

_numbers = count()


@pytest.fixture
def name(shared_proxy: Proxy) -> str:
    """A repository of the test's own, with five commits."""
    name = f"own/repository-{next(_numbers)}"
    make_repository(shared_proxy.repositories / f"{name}.git", commits=5)
    return name


@pytest.fixture
def git(shared_proxy: Proxy) -> Git:
    return shared_proxy.git("code:write", home=f"home-{next(_numbers)}")


def clone(git: Git, proxy: Proxy, name: str, *options: str) -> Path:
    git("clone", "--quiet", *options, f"{proxy.url}/{name}", "work")
    return git.home / "work"


def bare(proxy: Proxy, name: str) -> Path:
    return proxy.repositories / f"{name}.git"


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_every_protocol_version_clones_fetches_and_pushes(
    shared_proxy: Proxy, git: Git, name: str, version: str
) -> None:
    git.config["protocol.version"] = version
    work = clone(git, shared_proxy, name)
    head = commit(git, work)
    git("push", "--quiet", "origin", "main", cwd=work)
    other = Git(shared_proxy.home(f"other-{version}"), git.secret, config=dict(git.config))
    clone(other, shared_proxy, name)
    newest = commit(git, work, "more.txt")
    git("push", "--quiet", "origin", "main", cwd=work)
    other("fetch", "--quiet", cwd=other.home / "work")
    assert other("rev-parse", "origin/main", "HEAD", cwd=other.home / "work").split() == [newest, head]
    git("fsck", "--strict", cwd=bare(shared_proxy, name))
    versions = {
        line["protocol"]
        for line in shared_proxy.log_lines()
        if line["repository"] == name and line["service"] == "git-upload-pack"
    }
    assert versions == {int(version)}


@pytest.mark.parametrize("version", ["0", "2"])
@pytest.mark.parametrize(
    "options",
    [
        ["--depth=2"],
        ["--single-branch", "--branch=main"],
        ["--no-checkout", "--filter=blob:none"],
        ["--mirror"],
    ],
)
def test_shallow_partial_single_branch_and_mirror_clones(
    shared_proxy: Proxy, git: Git, name: str, version: str, options: list[str]
) -> None:
    for key in ["allowFilter", "allowAnySHA1InWant"]:
        git("config", f"uploadpack.{key}", "true", cwd=bare(shared_proxy, name))
    git.config["protocol.version"] = version
    work = clone(git, shared_proxy, name, *options)
    commits = "2" if "--depth=2" in options else "5"
    assert git("rev-list", "--count", "main", cwd=work).strip() == commits
    if "--filter=blob:none" in options:
        # What was left out is fetched when it is needed, with the same token.
        assert "?" in git("rev-list", "--objects", "--missing=print", "main", cwd=work)
        git("checkout", "--quiet", "main", cwd=work)
        assert (work / "file.txt").read_text() == "4"


def test_a_shallow_clone_is_deepened(shared_proxy: Proxy, git: Git, name: str) -> None:
    work = clone(git, shared_proxy, name, "--depth", "1")
    git("fetch", "--quiet", "--unshallow", cwd=work)
    assert git("rev-list", "--count", "HEAD", cwd=work).strip() == "5"


def test_tags_force_push_and_deletion(shared_proxy: Proxy, git: Git, name: str) -> None:
    work = clone(git, shared_proxy, name)
    git("tag", "--annotate", "--message", "First", "v1", cwd=work)
    git("push", "--quiet", "origin", "v1", "main:topic", cwd=work)
    git("commit", "--quiet", "--amend", "--message", "Rewritten", cwd=work)
    assert "[rejected]" in git.try_("push", "origin", "main", cwd=work).text
    git("push", "--quiet", "--force", "origin", "main", cwd=work)
    git("push", "--quiet", "origin", ":topic", cwd=work)
    refs = git("for-each-ref", "--format=%(refname)", cwd=bare(shared_proxy, name)).split()
    assert refs == ["refs/heads/main", "refs/tags/v1"]
    assert git("fetch", "--tags", cwd=clone_again(shared_proxy, git, name)) == ""


def clone_again(proxy: Proxy, git: Git, name: str) -> Path:
    git("clone", "--quiet", f"{proxy.url}/{name}", "again")
    assert git("tag", cwd=git.home / "again").split() == ["v1"]
    return git.home / "again"


def test_three_thousand_refs_are_pushed_at_once(shared_proxy: Proxy, git: Git, name: str) -> None:
    work = clone(git, shared_proxy, name)
    head = git("rev-parse", "HEAD", cwd=work).strip()
    refs = "".join(f"create refs/heads/many/{number} {head}\n" for number in range(3000))
    git("update-ref", "--stdin", cwd=work, stdin=refs.encode())
    git("push", "--quiet", "origin", "refs/heads/many/*:refs/heads/many/*", cwd=work)
    assert (
        git("for-each-ref", "--count=5000", "refs/heads/many", cwd=bare(shared_proxy, name)).count("\n")
        == 3000
    )
    [push] = [e for e in shared_proxy.audit_of(2, "--repository", name) if e["event"] == "push"]
    assert len(push["details"]["updates"]) == 3000
    assert {update["outcome"] for update in push["details"]["updates"]} == {"ok"}


@pytest.mark.parametrize("post_buffer", ["1048576", "1073741824"], ids=["chunked", "content-length"])
def test_a_push_of_a_large_random_blob(
    shared_proxy: Proxy, git: Git, name: str, post_buffer: str
) -> None:
    git.config |= {"http.postBuffer": post_buffer, "core.compression": "0"}
    work = clone(git, shared_proxy, name)
    with (work / "large.bin").open("wb") as file:
        for _ in range(300):
            file.write(os.urandom(1024 * 1024))
    git("add", "large.bin", cwd=work)
    git("commit", "--quiet", "--message", "Large", cwd=work)
    git("push", "--quiet", "origin", "main", cwd=work)
    blob = git("rev-parse", "HEAD:large.bin", cwd=work)
    assert git("rev-parse", "main:large.bin", cwd=bare(shared_proxy, name)) == blob
    git("fsck", cwd=bare(shared_proxy, name))
    sent = [line["bytes_in"] for line in shared_proxy.log_lines() if line["repository"] == name]
    assert max(sent) > 300 * 1024 * 1024


def test_a_large_fetch_request_is_sent_gzipped(shared_proxy: Proxy, git: Git, name: str) -> None:
    work = clone(git, shared_proxy, name)
    # So many newer commits of its own that the haves go over git's limit of 1,024 bytes.
    history = "".join(
        f"commit refs/heads/own\ncommitter A <a@example.org> {1800000000 + number} +0000\ndata 1\nx\n"
        for number in range(600)
    )
    git("fast-import", "--quiet", cwd=work, stdin=history.encode())
    other = Git(shared_proxy.home(f"other-{name[-2:]}"), git.secret)
    commit(other, clone(other, shared_proxy, name), "new.txt")
    other("push", "--quiet", "origin", "main", cwd=other.home / "work")
    git.variables["GIT_TRACE_CURL"] = "1"
    trace = git("fetch", cwd=work)
    assert "Content-Encoding: gzip" in trace
    assert "main       -> origin/main" in trace


def test_the_first_push_into_an_empty_repository(shared_proxy: Proxy, git: Git) -> None:
    name = f"own/empty-{next(_numbers)}"
    make_repository(bare(shared_proxy, name), commits=0)
    work = clone(git, shared_proxy, name)
    head = commit(git, work)
    git("push", "--quiet", "origin", "main", cwd=work)
    assert git("rev-parse", "main", cwd=bare(shared_proxy, name)).strip() == head


def test_a_sha256_repository(shared_proxy: Proxy, git: Git) -> None:
    name = f"own/sha256-{next(_numbers)}"
    make_repository(bare(shared_proxy, name), commits=4, options=("--object-format=sha256",))
    work = clone(git, shared_proxy, name)
    head = commit(git, work)
    assert len(head) == 64
    git("push", "--quiet", "origin", "main", cwd=work)
    [push] = [e for e in shared_proxy.audit_of(2, "--repository", name) if e["event"] == "push"]
    assert push["details"]["updates"][0]["new"] == head


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("with space", "with%20space"),
        ("größe/日本語", "größe/日本語"),
        ("c++/a+b", "c++/a+b"),
        ("c++/a+b", "c%2B%2B/a%2Bb"),
        ("50%", "50%25"),
        ("a.b-c_d~e", "a.b-c_d~e"),
        ("quote'and\"quote", "quote'and%22quote"),
        ("question?hash#", "question%3Fhash%23"),
    ],
)
def test_names_that_need_care(shared_proxy: Proxy, git: Git, name: str, address: str) -> None:
    path = bare(shared_proxy, f"names/{name}")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make_repository(path)
    work = clone(git, shared_proxy, f"names/{address}")
    head = commit(git, work, content=os.urandom(8))
    git("push", "--quiet", "origin", "main", cwd=work)
    assert git("rev-parse", "main", cwd=path).strip() == head
    assert shared_proxy.log_lines()[-1]["repository"] == f"names/{name}"


def test_a_repository_with_a_work_tree_and_one_without_dot_git(shared_proxy: Proxy, git: Git) -> None:
    plain, worktree = f"own/plain-{next(_numbers)}", f"own/worktree-{next(_numbers)}"
    make_repository(shared_proxy.repositories / plain)
    git("init", "--quiet", str(shared_proxy.repositories / worktree))
    head = commit(git, shared_proxy.repositories / worktree)
    for ending in ["", ".git"]:
        assert "refs/heads/main" in git("ls-remote", f"{shared_proxy.url}/{plain}{ending}")
        assert head in git("ls-remote", f"{shared_proxy.url}/{worktree}{ending}")


def test_an_archive_is_refused_or_served_as_http_allows(
    shared_proxy: Proxy, git: Git, name: str
) -> None:
    """git before 2.44 has no archives over HTTP and says so itself."""
    outcome: Outcome = git.try_("archive", "--remote", f"{shared_proxy.url}/{name}", "main", "file.txt")
    if git_version() >= (2, 44):
        assert outcome.ok
    else:
        assert not outcome.ok
        assert "not supported by protocol" in outcome.text


def git_version() -> tuple[int, ...]:
    result = subprocess.run(["git", "version"], capture_output=True, text=True, check=True)
    return tuple(int(part) for part in result.stdout.split()[2].split(".")[:2])


def test_a_hook_sees_who_pushes_and_what_it_says_is_shown(
    shared_proxy: Proxy, git: Git, name: str
) -> None:
    hook = bare(shared_proxy, name) / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        "#!/bin/sh\n"
        'echo "hook: $REMOTE_USER $GITPAT_ACCOUNT $GITPAT_TOKEN_ID $GIT_COMMITTER_EMAIL"\n'
        'env | cut -d= -f1 | sort | tr "\\n" " "\n'
        "while read -r old new ref; do case $ref in */forbidden) exit 1;; esac; done\n"
    )
    hook.chmod(0o755)
    work = clone(git, shared_proxy, name)
    commit(git, work)
    said = git("push", "origin", "main", cwd=work)
    assert "remote: hook: alice alice " in said
    assert "alice@127.0.0.1" in said
    assert "HTTP_AUTHORIZATION" not in said
    assert " HOME " not in said
    refused = git.try_("push", "origin", "main:forbidden", cwd=work)
    assert "[remote rejected] main -> forbidden (pre-receive hook declined)" in refused.text
    events = shared_proxy.audit_of(3, "--repository", name)
    assert events[-1]["details"]["updates"][0]["outcome"] == "ng"
    assert events[-1]["details"]["updates"][0]["reason"] == "pre-receive hook declined"


def test_a_repository_made_after_the_start_is_served(shared_proxy: Proxy, git: Git) -> None:
    name = f"late/{next(_numbers)}"
    refused = git.try_("ls-remote", f"{shared_proxy.url}/{name}")
    assert f"There is no repository {name} that this token reaches." in refused.text
    make_repository(bare(shared_proxy, name))
    git("ls-remote", f"{shared_proxy.url}/{name}")


def test_what_git_says_of_a_failure_is_not_hidden_by_another(
    shared_proxy: Proxy, git: Git, name: str
) -> None:
    git.config["protocol.version"] = "2"
    work = clone(git, shared_proxy, name)
    outcome = git.try_("fetch", "origin", "1234567890" * 4, cwd=work)
    assert "remote error: upload-pack: not our ref" in outcome.text
    assert "RPC failed" not in outcome.text
    assert any("not our ref" in line["text"] for line in shared_proxy.log_lines("git_said"))
