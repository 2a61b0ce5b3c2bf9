"""Where answers are put that git gives faster than its clients take them."""

import tempfile
from collections.abc import Callable
from typing import BinaryIO, cast

from gitpat_proxy.config.model import Config


class Spool:
    """The space that all files of this process may take: its share of `limits.spool_bytes`.

    `make_room` is called where none is left; it tells whether it gave some back.
    """

    def __init__(self, config: Config, make_room: Callable[[], bool]) -> None:
        self._make_room = make_room
        self._config = config
        self._taken = 0

    def take(self, most: int) -> int:
        """Take what is left of the space, so many bytes at most, and return how many; 0: none is."""
        while not (room := min(most, self._left)) and self._make_room():
            pass
        self._taken += room
        return room

    def give_back(self, size: int) -> None:
        """Give so many bytes back."""
        self._taken -= size

    def open(self) -> BinaryIO:
        """Make a file without a name, which is gone when it is closed; raise OSError."""
        return cast(BinaryIO, tempfile.TemporaryFile(dir=self._config.spool, buffering=0))

    @property
    def _left(self) -> int:
        return max(0, self._config.limits.spool_bytes // self._config.workers - self._taken)
