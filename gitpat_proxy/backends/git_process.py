"""One git: started, fed, read, ended, with all that it started itself."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress

import structlog

from gitpat_proxy.backends.base import BodyCutError
from gitpat_proxy.backends.command import Command
from gitpat_proxy.backends.pipes import InputPipe, OutputPipe

_TERMINATE_SECONDS = 2.0
_LAST_WORDS_SECONDS = 1.0
_LONGEST_ERROR_OUTPUT = 16 * 1024
_MOST_ERROR_LINES = 100


class GitProcess:
    """A child in a process group of its own.

    Why a group: it starts others, and ending the first leaves them running.
    """

    def __init__(self, child: "Child", pipes: "Pipes", request_id: str) -> None:
        self.pid = child.pid
        self._child = child
        self._pipes = pipes
        self._log = structlog.get_logger().bind(request=request_id)
        self._reading_errors = asyncio.create_task(self._log_errors())
        self._feeding: asyncio.Task[bool] | None = None
        self.has_complained = False
        """It has said something on standard error."""

    @classmethod
    def start(cls, command: Command, request_id: str, patience: float) -> "GitProcess":
        """Start it; raise OSError if that can't be done.

        `patience`: so many seconds it may neither take nor give anything.
        """
        pipes = Pipes()
        pipes.input.patience = pipes.output.patience = patience
        try:
            child = Child(command, pipes)
        except BaseException:
            pipes.close()
            raise
        pipes.passed_on()
        return cls(child, pipes, request_id)

    def feed(self, body: AsyncIterator[bytes]) -> None:
        """Begin to give it the request's body."""
        self._feeding = asyncio.create_task(self._feed(body))

    async def fed(self) -> bool:
        """Wait until it has the body, or as much as there is of it; tell whether that was all.

        Raises TimeoutError if it did not take it.
        """
        return self._feeding is not None and await asyncio.shield(self._feeding)

    async def read(self, most: int = 64 * 1024) -> bytes:
        """Return a piece of its output, b"" at the end; raises TimeoutError."""
        return await self._pipes.output.read(most)

    async def move(self, descriptor: int, offset: int, most: int) -> int:
        """Put a piece of its output into a file; see OutputPipe.move."""
        return await self._pipes.output.move(descriptor, offset, most)

    def let_it_take_its_time(self) -> None:
        """Wait for its output as long as it takes: it may be a hook's."""
        self._pipes.output.patience = None

    async def end(self) -> None:
        """Leave nothing running, and nothing of it open."""
        if self._feeding:
            self._feeding.cancel()
            await asyncio.wait([self._feeding])
        self._pipes.input.close()
        self._pipes.output.close()
        if self._child.has_ended:
            await self.last_words()
        await self._terminate()
        self._reading_errors.cancel()
        await asyncio.wait([self._reading_errors])
        self._pipes.close()

    async def last_words(self) -> None:
        """Wait a moment for its end: until then it may say why it failed."""
        await asyncio.wait([self._reading_errors], timeout=_LAST_WORDS_SECONDS)

    async def exit_code(self) -> int:
        """Wait for its end; negative: the signal that ended it."""
        return await self._child.wait()

    async def _feed(self, body: AsyncIterator[bytes]) -> bool:
        """Where the client is gone the input ends early, and git decides.

        A push that is not complete fails and is undone; one that is, but for the end of its HTTP body,
        is applied. Ended by force it could be applied by half.
        """
        try:
            async for chunk in body:
                await self._pipes.input.write(chunk)
        except (BrokenPipeError, TimeoutError) as error:
            # git has answered already, or never will; its client reads that only when it has sent all.
            self._pipes.input.close()
            with suppress(BodyCutError):
                async for _ in body:
                    pass
            if isinstance(error, TimeoutError):
                raise
        except BodyCutError:
            return False
        finally:
            self._pipes.input.close()
        return True

    async def _terminate(self) -> None:
        """What has ended by itself may have left a process in its group, which is none of ours."""
        if self._child.has_ended:
            return
        self._signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._child.wait(), _TERMINATE_SECONDS)
        # Also where it has ended by now: others of its group may not have.
        self._signal(signal.SIGKILL)
        await self._child.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    async def _log_errors(self) -> None:
        """Pass what git says on standard error to the log, a bounded part of it."""
        left, lines_left = _LONGEST_ERROR_OUTPUT, _MOST_ERROR_LINES
        while output := await self._pipes.errors.read():
            self.has_complained = True
            lines = output[:left].decode("utf-8", "replace").splitlines()[:lines_left]
            for line in filter(str.strip, lines):
                self._log.warning("git_said", text=line)
            left, lines_left = max(0, left - len(output)), lines_left - len(lines)


class Child:
    """A process that leads a session of its own; its end is told by a descriptor (pidfd_open(2)).

    asyncio's own need a thread for each on Python 3.11: where none is to be had, a process that has been
    started is lost to it.
    """

    def __init__(self, command: Command, pipes: "Pipes") -> None:
        self._process = subprocess.Popen(  # noqa: S603 - a program of git's, without a shell
            command.arguments,
            stdin=pipes.input.childs_end,
            stdout=pipes.output.childs_end,
            stderr=pipes.errors.childs_end,
            env=command.environment,
            cwd=command.folder,
            start_new_session=True,
        )
        try:
            self._end = os.pidfd_open(self._process.pid)
        except OSError:
            self._process.kill()
            self._process.wait()
            raise
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._end, self._reap)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    async def wait(self) -> int:
        """Wait for its end; return its exit code, negative for a signal."""
        await self._ended.wait()
        return self._process.wait()

    def _reap(self) -> None:
        self._process.wait()
        asyncio.get_running_loop().remove_reader(self._end)
        os.close(self._end)
        self._ended.set()


class Pipes:
    """The three pipes of a child; raises OSError, and leaves none, where they can't all be had."""

    def __init__(self) -> None:
        with ExitStack() as opened:
            self.input = opened.enter_context(InputPipe.open())
            self.output = opened.enter_context(OutputPipe.open())
            self.errors = opened.enter_context(OutputPipe.open())
            self._opened = opened.pop_all()

    def passed_on(self) -> None:
        """Close the child's ends, which it has now."""
        for pipe in (self.input, self.output, self.errors):
            pipe.passed_on()

    def close(self) -> None:
        """Close what is still open of the proxy's ends."""
        self._opened.close()
