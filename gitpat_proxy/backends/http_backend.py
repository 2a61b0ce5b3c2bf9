"""A folder of repositories, served through `git http-backend`, git's own CGI program."""

import asyncio
import errno
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from gitpat_proxy.access.push import Problem, RefProblem
from gitpat_proxy.access.refusal import Code, Refusal, RefusedError, refuse
from gitpat_proxy.backends.answers import Answers, Production, Question
from gitpat_proxy.backends.base import (
    Answer,
    AnswerCutError,
    Asked,
    Call,
    Finding,
    WholeAnswer,
    answer_headers,
)
from gitpat_proxy.backends.cgi import (
    CgiHeadError,
    environment,
    inherited_variables,
    parse_head,
    protocol_of,
    split_head,
)
from gitpat_proxy.backends.command import Command, Programs, command_for, service_announcement
from gitpat_proxy.backends.fingerprint import (
    Installation,
    UnknowableError,
    configurations_of,
    fingerprint_of,
)
from gitpat_proxy.backends.git_process import GitProcess
from gitpat_proxy.backends.hooks import HookWatch
from gitpat_proxy.backends.ref_problems import problem_of_folder
from gitpat_proxy.config.model import Config
from gitpat_proxy.git.body import whole_content
from gitpat_proxy.git.fetch import asks_for_objects, asks_for_refs
from gitpat_proxy.git.operation import Kind, Service, repository_name

_JOINING_SECONDS = 0.05
"""What has ended by then is passed on as a whole, which costs half of what piece by piece does."""

_log = structlog.get_logger()


class HttpBackend:
    """Repositories at any depth below `root`, bare or not; new ones are served as they appear.

    git may let its answer wait for `limits.first_byte_seconds`, at its beginning and in its middle; but
    for a push that has arrived, whose hooks may take `limits.hook_seconds`.
    """

    def __init__(self, root: Path, config: Config, answers: Answers) -> None:
        self._root = root.resolve()
        self._config = config
        self._mail_domain = urlsplit(config.public_url).hostname or "localhost"
        self._inherited = inherited_variables(os.environ)
        self._answers = answers
        program = http_backend_program()
        self._programs = programs_of(program)
        self._installation = installation(program)
        self._making: set[asyncio.Task[None]] = set()

    def at_hand(self, asked: Asked) -> Callable[[], WholeAnswer | None]:
        """See Backend.at_hand."""
        name, question = self._name(asked), question_of(asked)

        def answer() -> WholeAnswer | None:
            production = question and self._answers.find(name, question)
            return production.whole if production else None

        return answer

    @asynccontextmanager
    async def serve(self, call: Call, on_taken: Callable[[], None]) -> AsyncIterator[Answer]:
        """See Backend.serve."""
        name, question = self._name(call), question_of(call)
        found = question and self._answers.find(name, question)
        production = found or self._begin(call, name, question)
        production.output.when_taken(on_taken)
        async with answer_of(production, _JOINING_SECONDS if found else 0.0) as answer:
            yield answer

    def kept(self, call: Call) -> AbstractAsyncContextManager[Answer] | None:
        """See Backend.kept."""
        question = question_of(call)
        production = question and self._answers.find_whole(self._name(call), question)
        return answer_of(production, 0.0) if production else None

    def _begin(self, call: Call, name: str, question: Question | None) -> Production:
        """Begin to make the answer."""
        repository = git_directory(self._root, call.path)
        if repository is None:
            raise RefusedError(refuse(Code.REPOSITORY_NOT_FOUND, repository=call.operation.repository))
        is_about_refs = question is not None and question.is_about_refs
        production = Production(self._answers.spool, is_about_refs=is_about_refs)
        if question and self._answers.keeps(question):
            with suppress(UnknowableError, OSError):
                candidates = candidates_of(call.path)
                before = candidates[: candidates.index(repository)]
                fingerprint = fingerprint_of(self._root, repository, before, self._installation)
                self._answers.offer(name, fingerprint, question, production)
        making = production.start(self._make(production, call, repository, question))
        self._making.add(making)
        making.add_done_callback(self._making.discard)
        return production

    def _name(self, asked: Asked) -> str:
        """Return what no other backend calls a repository, also where its folder lies in this one's."""
        return f"{self._root}//{repository_name(asked.path)}"

    async def _make(
        self, production: Production, call: Call, repository: str, question: Question | None
    ) -> None:
        """Have git answer; what fails is told by `production`, as nobody waits for this task."""
        output = production.output
        try:
            command = self._command(call, repository)
            async with self._process(call, command) as process:
                headers, output.head = await _begun(process, call, command)
                production.begin(answer_headers(headers))
                async with self._hooks_watched(process, call, command):
                    await output.fill(process)
                code = await process.exit_code()
                # Another failure git has told in a packet of its own, or the packets lack their end: the
                # client notices, and a connection cut on top would only hide the reason.
                output.end(AnswerCutError(_end(code, command)) if code < 0 else None)
                if question:
                    await process.last_words()
                    # `transfer.advertiseSID`: for one client alone (gitprotocol-v2, "session-id").
                    says_who_asks = b"session-id=" in output.head
                    production.is_good = not (code or process.has_complained or says_who_asks)
        except TimeoutError:
            output.end(AnswerCutError("git stopped in the middle of its answer"))
        except Exception as error:
            # The outermost edge of the task: whoever waits for its answer gets it, else the log.
            if not production.fail(error):
                _log.exception("failed", request=call.request_id)
            output.end(AnswerCutError(f"it failed: {error}"))
        finally:
            if question:
                self._answers.made(self._name(call), question, production)

    def _command(self, call: Call, repository: str) -> Command:
        root = str(self._root)
        variables = environment(call, root, repository, self._mail_domain, self._inherited)
        configurations = configurations_of(self._root, repository, self._installation)
        folder = str(self._root / repository)
        return command_for(call, self._programs, folder, variables, configurations)

    @asynccontextmanager
    async def _process(self, call: Call, command: Command) -> AsyncIterator[GitProcess]:
        """Run git for a call; in the end nothing of it is left."""
        try:
            process = GitProcess.start(command, call.request_id, self._config.limits.first_byte_seconds)
        except OSError as error:
            raise RefusedError(
                refuse(Code.UPSTREAM_FAILED, what=f"can't start git ({error.strerror})")
            ) from None
        try:
            process.feed(call.body if command.whole_body is None else _given(command.whole_body))
            yield process
        except RefusedError:
            await process.last_words()
            raise
        finally:
            ending = asyncio.create_task(process.end())
            try:
                await asyncio.shield(ending)
            finally:
                # Also where it is told to hurry: a git must not be left behind.
                await asyncio.wait([ending])

    @asynccontextmanager
    async def _hooks_watched(
        self, process: GitProcess, call: Call, command: Command
    ) -> AsyncIterator[None]:
        if not _runs_hooks(call):
            yield
            return
        process.let_it_take_its_time()
        longest = self._config.limits.hook_seconds
        watch = HookWatch(process.pid, longest, call.request_id, is_started_by_git=command.is_cgi)
        watching = asyncio.create_task(watch.run())
        try:
            yield
        finally:
            watching.cancel()

    def ref_problem(self, path: tuple[str, ...]) -> RefProblem:
        """See Backend.ref_problem."""
        return problem_on_disk(self._root, path)

    async def check(self) -> Finding:
        """Have git advertise the refs of one repository below the folder."""
        part = f"repositories {self._root}"
        repositories = await asyncio.to_thread(repositories_below, self._root, 1000)
        if _looks_like_git_directory(self._root) or repositories == [".git"]:
            return Finding(
                part, False, f"it is itself a repository; name the folder {self._root.parent}"
            )
        if not repositories:
            return Finding(part, True, "no repository in it yet")
        first = repositories[0]
        result = await asyncio.to_thread(
            subprocess.run,
            ["git", "upload-pack", "--advertise-refs", "."],
            cwd=self._root / first,
            env=inherited_variables(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if result.returncode != 0:
            [said, *_] = result.stderr.decode("utf-8", "replace").splitlines() or ["it does not say why"]
            owner = "; run gitpat-proxy as the owner of the repositories" if "dubious" in said else ""
            return Finding(part, False, f"git can't read {first}: {said}{owner}")
        more = "at least " if len(repositories) == 1000 else ""
        return Finding(part, True, f"{more}{len(repositories)} repositories, {first} can be read")

    async def close(self) -> None:
        """Wait until every git has ended."""
        self._answers.close()
        if self._making:
            await asyncio.wait(self._making)


def http_backend_program() -> str:
    """Return the path of git's CGI program; raise FileNotFoundError with a sentence without git.

    It is called itself, not through `git`, which saves a process for each request.
    """
    try:
        result = subprocess.run(["git", "--exec-path"], capture_output=True, check=True, text=True)  # noqa: S607 - the one on the search path is meant
    except (OSError, subprocess.CalledProcessError):
        raise FileNotFoundError("git is not installed, or not on the search path") from None
    program = Path(result.stdout.strip(), "git-http-backend")
    if not program.exists():
        raise FileNotFoundError(f"git has no http-backend here: there is no {program}")
    return str(program)


def installation(program: str) -> Installation:
    """Return the files of git's that all repositories have in common, beside its CGI program.

    Git itself has no way to say where its system-wide configuration is but to have it edited.
    """
    asked = subprocess.run(
        ["git", "config", "--system", "--edit"],  # noqa: S607 - as above
        env=inherited_variables(os.environ) | {"GIT_EDITOR": "echo"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    configuration = asked.stdout.strip() or "/etc/gitconfig"
    return Installation((program, str(Path(program).with_name("git"))), (configuration,))


def programs_of(http_backend: str) -> Programs:
    """Return the programs that lie in the same folder as git's CGI program."""
    git = Path(http_backend).with_name("git")
    return Programs(http_backend, str(git) if git.exists() else None)


def question_of(asked: Asked) -> Question | None:
    """Return what is asked, None where its answer may not be the same for another one like it.

    No push: it changes something, and its advertisement has what git makes anew each time.
    """
    operation = asked.operation
    if operation.service is not Service.UPLOAD_PACK or asked.whole_body is None:
        return None
    content = whole_content(asked.whole_body, asked.headers.get("content-encoding", ""))
    is_about_refs = operation.kind is Kind.ADVERTISEMENT
    if content and not is_about_refs:
        is_about_refs = asks_for_refs(content)
    if content is None or not (is_about_refs or asks_for_objects(content)):
        return None
    return Question(
        operation.endpoint,
        operation.query,
        protocol_of(asked.headers),
        sha256(content).digest(),
        is_about_refs,
    )


def candidates_of(path: tuple[str, ...]) -> list[str]:
    """Return the places, relative to the root, of which the first that is a repository is meant.

    `name` and `name.git` have the same ones, so that both are always the same repository.
    """
    name = repository_name(path)
    return [f"{name}.git", name, f"{name}/.git"]


def git_directory(root: Path, path: tuple[str, ...]) -> str | None:
    """Return the Git directory, relative to `root`, of the repository asked for; None: there is none.

    What lies inside of another repository or its work tree is not there: who may push that one could
    make it, hooks and all.
    """
    name = repository_name(path)
    try:
        if any(_belongs_to_repository(root / parent) for parent in Path(name).parents[:-1]):
            return None
        for candidate in candidates_of(path):
            if _is_git_directory(root / candidate, root):
                return candidate
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            _log.error("repository_unreadable", repository=name, reason=str(error))
    return None


def repositories_below(root: Path, most: int) -> list[str]:
    """Return the Git directories below `root`, relative to it, that `git_directory` finds."""
    found: list[str] = []
    for directory, names, _files in os.walk(root):
        here = Path(directory)
        for name in sorted(names):
            if _looks_like_git_directory(here / name):
                names.remove(name)
                path = (here / name).relative_to(root)
                asked = path.parent if name == ".git" else path
                if git_directory(root, asked.parts) == str(path):
                    found.append(str(path))
        names.sort()
        if len(found) >= most:
            return found[:most]
    return found


def _belongs_to_repository(directory: Path) -> bool:
    return (directory / ".git").exists() or _looks_like_git_directory(directory)


def _is_git_directory(directory: Path, root: Path) -> bool:
    """Tell whether it is one, of which no link leads out of `root`; a `.git` file is none.

    Nor is what has a `.git` inside: that is the one that git would take, whatever it is.
    """
    if not _looks_like_git_directory(directory) or (directory / ".git").exists():
        return False
    if not directory.resolve().is_relative_to(root):
        return False
    parts = (directory / "objects", directory / "refs")
    return all(not part.is_symlink() or part.resolve().is_relative_to(root) for part in parts)


def _looks_like_git_directory(directory: Path) -> bool:
    """After git's is_git_directory: it has a HEAD, objects and refs."""
    head = directory / "HEAD"
    return (
        (head.is_file() or head.is_symlink())
        and (directory / "objects").is_dir()
        and (directory / "refs").is_dir()
    )


def problem_on_disk(root: Path, path: tuple[str, ...]) -> RefProblem:
    """Return what tells of the refs of a repository below `root` whether rules can hold for them."""
    repository = root / (git_directory(root, path) or "nothing")
    has_reftable = (repository / "reftable").exists()
    is_symbolic = symbolic_refs(repository)

    def problem(ref: bytes, only_forward: bool) -> Problem | None:
        if has_reftable:
            return Problem("on disk", "this proxy can't read the refs of a repository with reftables")
        if is_symbolic(ref):
            return Problem("on disk", "it stands for another ref; push to that one")
        return problem_of_folder(ref, only_forward)

    return problem


def symbolic_refs(repository: Path) -> Callable[[bytes], bool]:
    """Return what tells whether a push to a ref changes another one, as git follows links.

    Also where what it stands for is not there yet. Packed refs are never symbolic.
    """
    top = os.fsencode(repository)
    refs = os.path.realpath(top + b"/refs")

    @cache
    def leads_away(folder: bytes) -> bool:
        return os.path.realpath(top + b"/" + folder) != refs + folder.removeprefix(b"refs")

    def is_symbolic(ref: bytes) -> bool:
        if leads_away(ref.rpartition(b"/")[0]):
            return True
        try:
            file = os.open(top + b"/" + ref, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            return error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
        try:
            return os.read(file, 4) == b"ref:"
        except IsADirectoryError:
            return False
        finally:
            os.close(file)

    return is_symbolic


@asynccontextmanager
async def answer_of(production: Production, seconds: float) -> AsyncIterator[Answer]:
    """Give what is made, as a whole if it ends within so many seconds."""
    async with production.used() as pieces:
        if seconds:
            await production.ended_within(seconds)
        output = production.output
        # To tell where it ends saves the client, and the proxy, the pieces' frames.
        length = {"Content-Length": str(output.size)} if output.is_whole else {}
        # What git says of it itself, of a file, is believed: it may have ended before that.
        yield Answer({**length, **production.headers}, pieces)


async def _begun(process: GitProcess, call: Call, command: Command) -> tuple[dict[str, str], bytes]:
    """Return the answer's headers and its first bytes; as long as these wait, git can fail in words.

    http-backend prints its head before it starts the git that does the work; but for a push, whose
    hooks take the time that they need, that one is waited for too.
    """
    try:
        if command.is_cgi:
            status, headers, rest = await _read_head(process)
            if status != 200:
                raise RefusedError(_refusal_of(status, call))
        else:
            headers, rest = {"Content-Type": str(call.operation.answer_type)}, command.beginning
        if await process.fed() and not _runs_hooks(call):
            rest = await _first_bytes(process, call, command, rest)
    except TimeoutError:
        raise RefusedError(refuse(Code.UPSTREAM_TIMEOUT)) from None
    return headers, rest


async def _first_bytes(process: GitProcess, call: Call, command: Command, rest: bytes) -> bytes:
    """Read on until there is more than the announcement before an advertisement."""
    is_advertisement = call.operation.kind is Kind.ADVERTISEMENT
    announcement = service_announcement(call.operation) if is_advertisement else b""
    while announcement.startswith(rest):
        chunk = await process.read()
        if not chunk:
            if code := await process.exit_code():
                raise RefusedError(refuse(Code.UPSTREAM_FAILED, what=f"failed: {_end(code, command)}"))
            break
        rest += chunk
    return rest


def _end(code: int, command: Command) -> str:
    """Return in words how git ended."""
    if code < 0:
        return f"{'git http-backend' if command.is_cgi else 'git'} was ended by signal {-code}"
    return "git gave no answer"


def _runs_hooks(call: Call) -> bool:
    return call.is_push and call.operation.kind is Kind.RPC


async def _read_head(process: GitProcess) -> tuple[int, dict[str, str], bytes]:
    output = b""
    try:
        while (parts := split_head(output)) is None:
            chunk = await process.read()
            if not chunk:
                raise CgiHeadError("it ended without an answer")  # noqa: TRY301
            output += chunk
        status, headers = parse_head(parts[0])
    except CgiHeadError as error:
        raise RefusedError(
            refuse(Code.UPSTREAM_FAILED, what=f"failed: git http-backend gave no answer, {error}")
        ) from None
    return status, headers, parts[1]


async def _given(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _refusal_of(status: int, call: Call) -> Refusal:
    """Git's own refusals come without a body; it says why on standard error, for the log."""
    operation = call.operation
    if status == 403:
        return refuse(
            Code.SERVICE_OFF,
            repository=operation.repository,
            service=operation.service or "the dumb protocol",
        )
    if status == 404:
        return refuse(Code.REPOSITORY_NOT_FOUND, repository=operation.repository)
    return refuse(Code.UPSTREAM_FAILED, what=f"failed (git http-backend answered {status})")
