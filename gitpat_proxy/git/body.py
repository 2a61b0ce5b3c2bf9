"""A bounded look into a request's body while it passes by."""

import zlib

LONGEST_LOOK = 2 * 1024 * 1024
"""So many bytes of content are looked at: 5,000 ref updates take half of it."""

GZIP = frozenset({"gzip", "x-gzip"})


_LONGEST_WHOLE = 1024 * 1024


def whole_content(body: bytes, content_encoding: str) -> bytes | None:
    """Return the content of a whole body; None where it can't be inflated, or is longer than 1 MiB."""
    if content_encoding not in GZIP:
        return body
    inflate = zlib.decompressobj(wbits=31)
    try:
        content = inflate.decompress(body, _LONGEST_WHOLE)
    except zlib.error:
        return None
    return content if inflate.eof and not inflate.unused_data else None


class ContentReader:
    """Takes the body's chunks as sent and gives their content, as far as it is looked at.

    `gave_up`: there was more content than that, or it could not be inflated. `is_used_up`: the former.
    `at_once`: so many bytes, at most, are inflated in one step; where there is more `is_behind`, and it
    has to be read, as with an empty chunk, before the next one comes.
    """

    def __init__(
        self, content_encoding: str, longest_look: int = LONGEST_LOOK, at_once: int | None = None
    ) -> None:
        self.gave_up = False
        self.is_used_up = False
        self.is_behind = False
        self._inflate = zlib.decompressobj(wbits=31) if content_encoding in GZIP else None
        self._left = longest_look
        self._at_once = at_once or longest_look

    def read(self, chunk: bytes) -> bytes:
        """Return the content of the next chunk; nothing after giving up."""
        if self.gave_up:
            return b""
        content = chunk
        if self._inflate:
            most = min(self._left, self._at_once)
            try:
                content = self._inflate.decompress(self._inflate.unconsumed_tail + chunk, most)
            except zlib.error:
                self.gave_up, self.is_behind = True, False
                return b""
            # What fills the step may have more behind it, also where no input is left.
            self.is_behind = len(content) == most
        self.is_used_up = len(content) >= self._left
        self.gave_up = self.is_used_up or self._has_more()
        self.is_behind = self.is_behind and not self.gave_up
        content = content[: self._left]
        self._left -= len(content)
        return content

    def _has_more(self) -> bool:
        """A second gzip member, or what else follows the first: git ignores it, others may not."""
        return self._inflate is not None and bool(self._inflate.unused_data)
