"""How git is called: wherever the service is started without http-backend, it answers the same bytes."""

import gzip
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gitpat_proxy.backends.base import Call
from gitpat_proxy.backends.cgi import environment, split_head
from gitpat_proxy.backends.command import Command, Programs, command_for
from gitpat_proxy.backends.fingerprint import configurations_of
from gitpat_proxy.backends.http_backend import http_backend_program, installation, programs_of
from gitpat_proxy.git.body import GZIP
from gitpat_proxy.git.operation import operation_of
from gitpat_proxy.git.pktline import pkt_line
from tests.support.git import Git, make_repository
from tests.support.raw import EMPTY_PACK
from tests.support.reference import ls_refs
from tests.support.tools import skip

PROGRAMS = programs_of(http_backend_program())
ALONE = Programs(PROGRAMS.http_backend, None)
PROTOCOLS = ["", "version=1", "version=2", "version=1:version=2", "version=7"]
UPLOAD, RECEIVE = "git-upload-pack", "git-receive-pack"

READING = [
    [],
    ["transfer.hideRefs=refs/heads/side"],
    ["uploadpack.hideRefs=refs/tags", "receive.hideRefs=refs/heads/side"],
    ["uploadpack.allowAnySHA1InWant=true", "uploadpack.allowFilter=true"],
    ["uploadpack.allowTipSHA1InWant=true", "uploadpack.allowRefInWant=true"],
    ["uploadpack.advertiseBundleURIs=true", "lsrefs.unborn=ignore"],
    ["protocol.version=0", "core.bare=true", "gc.auto=1"],
    ["remote.mirror.url=https://example.org/app.git", "url.x.insteadOf=http://"],
]
PUSHING = [
    [],
    ["receive.advertiseAtomic=false", "receive.advertisePushOptions=true"],
    ["receive.denyDeletes=true", "receive.fsckObjects=true", "receive.unpackLimit=1"],
    ["receive.denyCurrentBranch=ignore", "repack.useDeltaBaseOffset=false"],
    ["transfer.fsckObjects=true", "core.logAllRefUpdates=true", "core.compression=0"],
]


async def no_body() -> AsyncIterator[bytes]:
    return
    yield


def call(
    service: str, body: bytes = b"", protocol: str = "", encoding: str = "", *, is_whole: bool = True
) -> Call:
    """Return a call for a service's advertisement, with a body for the service itself."""
    address = ("POST", service, "") if body else ("GET", "info/refs", f"service={service}")
    method, endpoint, query = address
    headers = {"git-protocol": protocol, "content-encoding": encoding}
    return Call(
        operation=operation_of(method, f"/app/{endpoint}", query),
        path=("app",),
        headers={name: value for name, value in headers.items() if value},
        body=no_body(),
        whole_body=body if is_whole else None,
        account="alice",
        token_id="lusab-babad",
        address="192.0.2.7",
        request_id="r1",
    )


def command(repository: Path, call: Call, programs: Programs = PROGRAMS) -> Command:
    root = repository.parent
    variables = environment(call, str(root), repository.name, "localhost", os.environ)
    configurations = configurations_of(root, repository.name, installation(PROGRAMS.http_backend))
    return command_for(call, programs, str(repository), variables, configurations)


def answer(command: Command) -> bytes:
    """Return the body of what git answers."""
    result = subprocess.run(
        command.arguments,
        cwd=command.folder,
        env=command.environment,
        input=command.whole_body,
        capture_output=True,
        check=False,
    )
    if not command.is_cgi:
        return command.beginning + result.stdout
    head, body = split_head(result.stdout) or (b"", b"")
    assert b"Status:" not in head
    return body


def assert_the_same(repository: Path, call: Call) -> bytes:
    """Ask both; return what they say."""
    direct, reference = command(repository, call), command(repository, call, ALONE)
    assert (direct.is_cgi, reference.is_cgi) == (False, True)
    said, wanted = answer(direct), answer(reference)
    assert without_cuts(said) == without_cuts(wanted)
    return said


def without_cuts(said: bytes) -> list[bytes]:
    """Return the packets, those of a side-band as one: git cuts a pack as it comes."""
    packets: list[bytes] = []
    while said:
        size = max(int(said[:4], 16), 4)
        packet, said = said[4:size], said[size:]
        if packet[:1] == b"\1" and packets and packets[-1][:1] == b"\1":
            packets[-1] += packet[1:]
        else:
            packets.append(packet)
        if said.startswith(b"PACK"):
            return [*packets, said]
    return packets


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = make_repository(tmp_path / "root" / "app.git")
    git = Git(tmp_path / "home")
    for arguments in (
        ("branch", "side", "main~1"),
        ("tag", "light", "main~2"),
        ("tag", "-a", "-m", "One", "heavy", "main"),
        ("symbolic-ref", "refs/heads/alias", "refs/heads/side"),
    ):
        git(*arguments, cwd=path)
    return path


def fetch_of(head: str, *lines: str) -> bytes:
    arguments = [f"want {head}\n", *lines, "done\n"]
    packets = [pkt_line(line.encode()) for line in arguments]
    return b"".join([pkt_line(b"command=fetch"), b"0001", *packets, b"0000"])


def push_of(new: str, ref: str, old: str = "0" * 40, capabilities: str = "report-status") -> bytes:
    return pkt_line(f"{old} {new} {ref}\0{capabilities}".encode()) + b"0000" + EMPTY_PACK


@pytest.mark.parametrize("configuration", [*READING, *PUSHING], ids=" ".join)
@pytest.mark.parametrize("protocol", ["", "version=2"])
def test_what_is_read(repository: Path, configuration: list[str], protocol: str) -> None:
    git = Git(repository.parent.parent / "home")
    for line in configuration:
        git("config", *line.split("=", 1), cwd=repository)
    head = git("rev-parse", "main", cwd=repository).strip()
    for service in (UPLOAD, RECEIVE):
        assert len(assert_the_same(repository, call(service, protocol=protocol))) > 100
    if "version=2" in protocol:
        for body in (
            ls_refs("peel", "symrefs", "unborn").body,
            ls_refs("ref-prefix refs/tags/").body,
            fetch_of(head, "no-progress\n"),
            fetch_of(head, "no-progress\n", "deepen 1\n"),
        ):
            assert assert_the_same(repository, call(UPLOAD, body, protocol))
        for body in (
            fetch_of(head, "no-progress\n", "filter blob:none\n"),
            fetch_of("1" * 40),
            b"0000",
            b"nothing",
        ):
            # It may have no answer but an exit code.
            assert_the_same(repository, call(UPLOAD, body, protocol))
        return
    body = pkt_line(f"want {head} ofs-delta\n".encode()) + b"0000" + pkt_line(b"done\n")
    assert b"PACK" in assert_the_same(repository, call(UPLOAD, body, protocol))


def empty(folder: Path) -> Path:
    return make_repository(folder / "app.git", commits=0)


def sha256(folder: Path) -> Path:
    return make_repository(folder / "app.git", options=("--object-format=sha256",))


def detached(folder: Path) -> Path:
    path = make_repository(folder / "app.git")
    Git(folder / "home")("update-ref", "--no-deref", "HEAD", "refs/heads/main", cwd=path)
    return path


def with_alternate(folder: Path) -> Path:
    other, path = make_repository(folder / "other.git"), make_repository(folder / "app.git", commits=0)
    (path / "objects/info/alternates").write_text(f"{other / 'objects'}\n")
    return path


def with_a_work_tree(folder: Path) -> Path:
    make_repository(folder / "other.git")
    Git(folder / "home")("clone", "--quiet", str(folder / "other.git"), str(folder / "app"))
    return folder / "app" / ".git"


@pytest.mark.parametrize("make", [empty, sha256, detached, with_alternate, with_a_work_tree])
def test_every_kind_of_repository(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    repository = make(tmp_path)
    for protocol in PROTOCOLS:
        for service in (UPLOAD, RECEIVE):
            assert assert_the_same(repository, call(service, protocol=protocol))
    listing = ls_refs("symrefs", "unborn").body
    if make is sha256:
        listing = listing.replace(b"0016object-format=sha1", b"0018object-format=sha256")
    assert assert_the_same(repository, call(UPLOAD, listing, "version=2"))


PUSHES = {
    "one that is taken": lambda head: push_of(head, "refs/heads/new"),
    "in a side-band": lambda head: push_of(
        head, "refs/heads/new", capabilities="report-status-v2 side-band-64k agent=git/2"
    ),
    "a deletion": lambda head: (
        pkt_line(f"{head} {'0' * 40} refs/heads/main\0report-status".encode()) + b"0000"
    ),
    "of what is not there": lambda _: push_of("1" * 40, "refs/heads/new"),
    "without an end": lambda head: push_of(head, "refs/heads/new")[:-8],
    "of nothing": lambda _: b"0000",
}


def seen_by_hook(text: str) -> list[str]:
    """Return folder and environment, but for names that are others each time."""
    lines = [line for line in text.splitlines() if "tmp_objdir" not in line]
    # Each program of git's puts its own folder before the others once more.
    return [":".join(dict.fromkeys(line.split(":"))) for line in lines]


@pytest.mark.parametrize("configuration", PUSHING, ids=" ".join)
@pytest.mark.parametrize("push", PUSHES)
def test_what_is_pushed(repository: Path, configuration: list[str], push: str) -> None:
    """The report, the refs afterwards, and what hooks see."""
    git = Git(repository.parent.parent / "home")
    for line in configuration:
        git("config", *line.split("=", 1), cwd=repository)
    for hook in ("pre-receive", "update", "post-receive"):
        path = repository / "hooks" / hook
        path.write_text(f'#!/bin/sh\n(pwd; env | grep -v "^_=" | sort) >"$PWD/{hook}.seen"\n')
        path.chmod(0o755)
    body = PUSHES[push](git("rev-parse", "main", cwd=repository).strip())
    original = repository.with_name("original.git")
    shutil.copytree(repository, original)
    outcomes = []
    for programs in (PROGRAMS, ALONE):
        said = answer(command(repository, call(RECEIVE, body), programs))
        seen = {path.name: seen_by_hook(path.read_text()) for path in repository.glob("*.seen")}
        outcomes.append((said, git("for-each-ref", cwd=repository), seen))
        shutil.rmtree(repository)
        shutil.copytree(original, repository)
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] or push == "of nothing"


@pytest.mark.parametrize(
    "line",
    ["[http]\n\treceivepack = false", "[HTTP]\nuploadpack=0", "[include]\npath=x", "[ifx][includeIf"],
)
@pytest.mark.parametrize("name", ["config", "config.worktree"])
def test_where_the_configuration_has_a_say_http_backend_hears_it(
    repository: Path, name: str, line: str
) -> None:
    with (repository / name).open("a") as file:
        file.write(f"\n{line}\n")
    for service in (UPLOAD, RECEIVE):
        assert command(repository, call(service)).is_cgi


def test_a_configuration_that_cant_be_read_is_left_to_http_backend(repository: Path) -> None:
    (repository / "config.worktree").mkdir()
    assert command(repository, call(UPLOAD)).is_cgi


def test_a_repository_whose_configuration_lies_elsewhere_is_left_to_http_backend(
    repository: Path,
) -> None:
    (repository / "commondir").write_text("../other.git\n")
    assert command(repository, call(UPLOAD)).is_cgi


def test_a_repository_of_somebody_else_is_left_to_http_backend(repository: Path) -> None:
    if os.geteuid() != 0:
        skip("only root can give a repository to somebody else")
    os.chown(repository, 12345, 12345)
    assert command(repository, call(UPLOAD)).is_cgi


def test_what_else_http_backend_does_is_left_to_it(repository: Path) -> None:
    body = ls_refs().body
    assert command(repository, call(UPLOAD, body, is_whole=False)).is_cgi
    assert not command(repository, call(RECEIVE, b"x", is_whole=False)).is_cgi
    for encoding in GZIP:
        assert command(repository, call(RECEIVE, gzip.compress(b"0000"), encoding=encoding)).is_cgi
        inflated = command(repository, call(UPLOAD, gzip.compress(body), encoding=encoding))
        assert (inflated.is_cgi, inflated.whole_body) == (False, body)
        assert command(repository, call(UPLOAD, b"no gzip", encoding=encoding)).is_cgi
    assert command(repository, call("git-upload-archive", b"0000")).is_cgi
