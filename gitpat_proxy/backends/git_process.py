"""One `git http-backend`: started, fed, read, ended, with all that it started itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, suppress

import structlog

from gitpat_proxy.backends.base import BodyCutError
from gitpat_proxy.backends.pipes import InputPipe, OutputPipe

_TERMINATE_SECONDS = 2.0
_LONGEST_ERROR_OUTPUT = 16 * 1024


class GitProcess:
    """A child in a process group of its own.

    Why a group: it starts three more, and ending the first leaves the others running.
    """

    def __init__(self, process: asyncio.subprocess.Process, pipes: "Pipes", request_id: str) -> None:
        self._process = process
        self._pipes = pipes
        self._log = structlog.get_logger().bind(request=request_id)
        self._reading_errors = asyncio.create_task(self._log_errors())
        self._feeding: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, program: str, environment: Mapping[str, str], request_id: str) -> "GitProcess":
        """Start it; raise OSError if that can't be done."""
        pipes = Pipes()
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                stdin=pipes.input.childs_end,
                stdout=pipes.output.childs_end,
                stderr=pipes.errors.childs_end,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            pipes.close()
            raise
        pipes.passed_on()
        return cls(process, pipes, request_id)

    def feed(self, body: AsyncIterator[bytes]) -> None:
        """Begin to give it the request's body."""
        self._feeding = asyncio.create_task(self._feed(body))

    async def read(self) -> bytes:
        """Return a piece of its output, b"" at the end."""
        return await self._pipes.output.read()

    async def end(self) -> None:
        """Leave nothing running, and nothing of it open."""
        if self._feeding:
            self._feeding.cancel()
            await asyncio.wait([self._feeding])
        self._pipes.input.close()
        self._pipes.output.close()
        await self._terminate()
        self._reading_errors.cancel()
        await asyncio.wait([self._reading_errors])
        self._pipes.close()

    async def exit_code(self) -> int:
        """Wait for its end; negative: the signal that ended it."""
        return await self._process.wait()

    async def _feed(self, body: AsyncIterator[bytes]) -> None:
        """Where the client is gone the input ends early, and git decides.

        A push that is not complete fails and is undone; one that is, but for the end of its HTTP body,
        is applied. Ended by force it could be applied by half.
        """
        try:
            async for chunk in body:
                await self._pipes.input.write(chunk)
        except BrokenPipeError:
            # git has answered already; its client reads that only when it has sent all.
            self._pipes.input.close()
            with suppress(BodyCutError):
                async for _ in body:
                    pass
        except BodyCutError:
            return
        finally:
            self._pipes.input.close()

    async def _terminate(self) -> None:
        if self._process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), _TERMINATE_SECONDS)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def _log_errors(self) -> None:
        """Pass what git says on standard error to the log, a bounded part of it."""
        left = _LONGEST_ERROR_OUTPUT
        while output := await self._pipes.errors.read():
            for line in output[:left].decode("utf-8", "replace").splitlines():
                self._log.warning("git_said", text=line)
            left = max(0, left - len(output))


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
