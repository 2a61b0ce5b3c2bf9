"""Answers for all who ask the same: while git gives them, and as long as it would again."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from gitpat_proxy.backends.base import AnswerCutError, Piece, WholeAnswer
from gitpat_proxy.backends.changes import Changes, Watched
from gitpat_proxy.backends.fingerprint import Fingerprint
from gitpat_proxy.backends.output import Output
from gitpat_proxy.backends.spool import Spool
from gitpat_proxy.config.model import Config

_MOST_LARGE = 500
"""So many with objects, or with a file, which takes a descriptor each, are kept."""
_MEMORY_FOR_REFS = 256 * 1024
"""So much of a list of refs, some 4,000 of them, is held in memory, and sent at once."""
_BYTES_PER_FACT = 700
"""What each file that a short answer depends on takes, about: more than all else besides its bytes.

Where it is watched the kernel needs as much once more.
"""


class Question(NamedTuple):
    """What an answer depends on besides the repository: all of it, so that two are never mixed up.

    `is_about_refs`: there are no objects in its answer.
    """

    endpoint: str
    query: str
    protocol: str
    digest: bytes
    """Of the body's content, which may be long (SHA-256)."""
    is_about_refs: bool


class Production:
    """An answer that is made, whoever asked for it first. It ends with its last user, unless kept."""

    def __init__(self, spool: Spool, *, is_about_refs: bool = False) -> None:
        self.headers: Mapping[str, str] = {}
        self.output = Output(spool, _MEMORY_FOR_REFS) if is_about_refs else Output(spool)
        self.is_good = False
        """It is whole, and git had nothing to complain of."""
        self.is_kept = False
        self.whole: WholeAnswer | None = None
        """It, once it is good and all of it is in memory."""
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Where nobody waits for it any more, nobody asks how it failed.
        self._begun.add_done_callback(lambda begun: begun.cancelled() or begun.exception())
        self._task: asyncio.Task[None] | None = None

    def start(self, making: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Begin to make it, in a task of its own, which is returned."""
        self._task = asyncio.create_task(making)
        self._task.add_done_callback(lambda _: self.close_if_unused())
        return self._task

    def begin(self, headers: Mapping[str, str]) -> None:
        """Say that there is an answer."""
        self.headers = headers
        self._begun.set_result(None)

    def fail(self, error: Exception) -> bool:
        """Say why there is none; return False where it has begun: that is too late."""
        if self._begun.done():
            return False
        self._begun.set_exception(error)
        return True

    @asynccontextmanager
    async def used(self) -> AsyncIterator[AsyncIterator[Piece]]:
        """Give its pieces, once it has begun, as long as the block runs; raises what it failed with."""
        try:
            with self.output.read() as pieces:
                await asyncio.shield(self._begun)
                yield pieces
        finally:
            await self._end_if_unused()

    async def ended_within(self, seconds: float) -> None:
        """Wait until git has ended, but no longer than that."""
        if self._task:
            await asyncio.wait([self._task], timeout=seconds)

    async def _end_if_unused(self) -> None:
        """Let no answer be over before its git is, with all that it had to say."""
        if self._task and not self.output.is_over and not self.output.has_readers:
            # Said first: nobody may join what ends.
            self.output.end(AnswerCutError("nobody wants it any more"))
            self._task.cancel()
        if self._task and not self._task.done() and self.output.is_over:
            await asyncio.shield(asyncio.wait([self._task]))
        self.close_if_unused()

    def close_if_unused(self) -> None:
        """Leave no file if nobody needs it: neither a reader, nor who may come, nor who writes it."""
        is_made = self._task is None or self._task.done()
        if is_made and not self.output.has_readers and not self.is_kept:
            self.output.close()


@dataclass
class _Known:
    fingerprint: Fingerprint
    watched: Watched
    questions: set[Question] = field(default_factory=set)


class Answers:
    """The productions of this process, by repository and question.

    Those about refs are kept as long as nothing has changed, in `ref_cache_bytes`; those with objects
    for `pack_cache_seconds` at most. 0: none. What was used longest ago goes first.
    """

    def __init__(self, config: Config) -> None:
        self.spool = Spool(config, self.make_room)
        self._memory = config.ref_cache_bytes
        self._pack_seconds = config.pack_cache_seconds
        self._taken = 0
        self._large = 0
        self._sizes: dict[tuple[str, Question], int] = {}
        """What each takes of the memory, once it is whole; 0: it is one of the large ones."""
        self._timers: dict[tuple[str, Question], asyncio.TimerHandle] = {}
        self._changes = Changes(config.workers)
        self._known: dict[str, _Known] = {}
        self._productions: OrderedDict[tuple[str, Question], Production] = OrderedDict()

    def keeps(self, question: Question) -> bool:
        """Tell whether answers of this kind are kept at all."""
        return (self._memory if question.is_about_refs else self._pack_seconds) > 0

    def find(self, name: str, question: Question) -> Production | None:
        """Return what gives the answer that git would give now, if there is one."""
        known = self._known.get(name)
        if known is None:
            return None
        if not known.watched.is_current():
            self._forget_all(name)
            return None
        key = name, question
        production = self._productions.get(key)
        if production is None or not production.output.can_be_joined:
            return None
        self._productions.move_to_end(key)
        return production

    def find_whole(self, name: str, question: Question) -> Production | None:
        """Return what `find` does if it is whole; without a look where there is none."""
        production = self._productions.get((name, question))
        return self.find(name, question) if production and production.output.is_whole else None

    def offer(
        self, name: str, fingerprint: Fingerprint, question: Question, production: Production
    ) -> None:
        """Let others join what git begins to answer now, after the fingerprint was taken."""
        if not fingerprint.is_settled:
            return
        known = self._known.get(name)
        if known is None or not known.fingerprint.shows_the_same(fingerprint):
            self._forget_all(name)
            known = self._known[name] = _Known(fingerprint, Watched(fingerprint, self._changes))
        if older := self._productions.get((name, question)):
            self._forget(name, question, older)
        self._known.setdefault(name, known).questions.add(question)
        self._productions[name, question] = production
        production.is_kept = True

    def made(self, name: str, question: Question, production: Production) -> None:
        """Keep what was offered, now that it is whole, or forget it where it is not good."""
        if self._productions.get((name, question)) is not production:
            return
        output = production.output
        is_good = production.is_good and output.is_whole
        if not (is_good and self._known[name].fingerprint.is_current()):
            self._forget(name, question, production)
            return
        is_small = question.is_about_refs and output.is_in_memory
        if output.is_in_memory:
            production.whole = WholeAnswer(production.headers, output.head)
        facts = len(self._known[name].fingerprint.facts)
        taken = len(output.head) + _BYTES_PER_FACT * facts
        size = self._sizes[name, question] = taken if is_small else 0
        self._taken += size
        self._large += not size
        if not question.is_about_refs:
            loop = asyncio.get_running_loop()
            self._timers[name, question] = loop.call_later(
                self._pack_seconds, self._forget, name, question, production
            )
        while self._taken > self._memory and self._forget_oldest(is_large=False):
            pass
        while self._large > _MOST_LARGE and self._forget_oldest(is_large=True):
            pass

    def make_room(self) -> bool:
        """Forget the large one that was used longest ago, and now by nobody; False: there is none."""
        return self._forget_oldest(is_large=True)

    def close(self) -> None:
        """Forget all."""
        for name in list(self._known):
            self._forget_all(name)
        self._changes.close()

    def _forget_oldest(self, *, is_large: bool) -> bool:
        for (name, question), production in self._productions.items():
            size = self._sizes.get((name, question))
            if size is not None and (size == 0) is is_large and not production.output.has_readers:
                self._forget(name, question, production)
                return True
        return False

    def _forget_all(self, name: str) -> None:
        if known := self._known.get(name):
            for question in list(known.questions):
                self._forget(name, question, self._productions[name, question])

    def _forget(self, name: str, question: Question, production: Production) -> None:
        """Let nobody join it any more; who uses it goes on."""
        key = name, question
        if self._productions.get(key) is not production:
            return
        del self._productions[key]
        if timer := self._timers.pop(key, None):
            timer.cancel()
        size = self._sizes.pop(key, None)
        self._taken -= size or 0
        self._large -= size == 0
        known = self._known[name]
        known.questions.discard(question)
        if not known.questions:
            known.watched.close()
            del self._known[name]
        production.is_kept = False
        production.close_if_unused()
