"""Patterns for the names of repositories and refs: `*` within a segment, `**` for whole segments."""

import re
from collections.abc import Iterable
from functools import lru_cache

_LONGEST = 250
_MOST_SEGMENTS = 100
_ANY_SEGMENTS = "**"


class Pattern:
    """What names look like that are meant; all but the stars stands for itself.

    `a/**` is all below `a`, `a/**/b` also `a/b`. A match takes time in proportion to the lengths of the
    pattern and the name, multiplied, and no more: both come from people who may want to keep us busy.
    """

    def __init__(self, text: str) -> None:
        """Raise ValueError with a sentence."""
        if not 1 <= len(text) <= _LONGEST:
            raise ValueError(f"a pattern has 1 to {_LONGEST} characters")
        segments = text.split("/")
        if any(segment in {"", ".", ".."} for segment in segments) or not text.isprintable():
            raise ValueError(f"{text!r} matches nothing: no name has an empty segment, . or ..")
        if any(_ANY_SEGMENTS in segment and segment != _ANY_SEGMENTS for segment in segments):
            raise ValueError(
                f"{text!r} has ** beside other characters; it stands for whole segments, as in team/**"
            )
        self._beginning = text.split("*", maxsplit=1)[0]
        self._segments = [None if s == _ANY_SEGMENTS else _segment_of(s) for s in segments]

    def matches(self, name: str) -> bool:
        """Tell whether the whole name is as the pattern says."""
        # Of a thousand rules nearly all end here.
        if not name.startswith(self._beginning):
            return False
        parts = name.split("/")
        if len(parts) > _MOST_SEGMENTS:
            return False
        last = len(self._segments) - 1
        # After how many segments of the name the pattern can have come as far as it was looked at.
        places = {0}
        for index, segment in enumerate(self._segments):
            if segment is None:
                # At the end it stands for what lies below, and not for the folder itself.
                places = set(range(min(places) + (index == last), len(parts) + 1))
            else:
                places = {p + 1 for p in places if p < len(parts) and segment.fullmatch(parts[p])}
            if not places:
                return False
        return len(parts) in places


def covers(outer: str, inner: str) -> bool:
    """Tell whether the one pattern surely matches every name that the other one does.

    A star of `inner` is taken by a star of `outer` as any other character is, so that the text tells,
    but for `**`, which stands for several segments.
    """
    if outer in {inner, _ANY_SEGMENTS}:
        return True
    if _ANY_SEGMENTS not in inner:
        return pattern_of(outer).matches(inner)
    prefix = outer.removesuffix(_ANY_SEGMENTS)
    return prefix.endswith("/") and prefix != outer and "*" not in prefix and inner.startswith(prefix)


def are_apart(one: str, other: str) -> bool:
    """Tell whether there is surely no name that both patterns match."""
    if "*" not in one or "*" not in other:
        return not (covers(one, other) or covers(other, one))
    beginnings = [text.partition("*")[0] for text in (one, other)]
    return not (beginnings[0].startswith(beginnings[1]) or beginnings[1].startswith(beginnings[0]))


@lru_cache(maxsize=4096)
def pattern_of(text: str) -> Pattern:
    """Return the pattern, made once for all that have the same; raise ValueError with a sentence."""
    return Pattern(text)


def _segment_of(text: str) -> re.Pattern[str]:
    """After fnmatch.translate: the first place that fits is taken for good, and nothing tried twice."""
    first, *others = map(re.escape, text.split("*"))
    if not others:
        return re.compile(first)
    *middle, last = others
    return re.compile(f"(?s:{first}{''.join(f'(?>.*?{part})' for part in middle)}.*{last})")


class RepositoryPatterns:
    """Some patterns of which one includes a name and none excludes it (`!PATTERN`), in any order.

    An exclusion holds for upper and lower case: many a server behind a route takes `Team/Secret` for
    `team/secret`.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """Raise ValueError with a sentence for what is no pattern, and where nothing is included."""
        self.texts = tuple(dict.fromkeys(map(_canonical, texts)))
        excluding = [text for text in self.texts if text.startswith("!")]
        self._excluding = [(text, pattern_of(text[1:].casefold())) for text in excluding]
        self._including = [(t, pattern_of(t)) for t in self.texts if not t.startswith("!")]
        if not self._including:
            raise ValueError("nothing is included; include something, if need be all with **")

    def deciding(self, name: str) -> str | None:
        """Return the pattern that decides about the repository; None: no pattern matches."""
        folded = name.casefold() if self._excluding else name
        for text, pattern in self._excluding:
            if pattern.matches(folded):
                return text
        for text, pattern in self._including:
            if pattern.matches(name):
                return text
        return None

    def include(self, name: str) -> bool:
        """Tell whether the repository with this canonical name is meant."""
        deciding = self.deciding(name)
        return deciding is not None and not deciding.startswith("!")


@lru_cache(maxsize=4096)
def repository_patterns(texts: tuple[str, ...]) -> RepositoryPatterns:
    """Return the patterns, made once for all tokens that have the same; raise ValueError."""
    return RepositoryPatterns(texts)


def _canonical(text: str) -> str:
    """`repo` and `repo.git` are one repository, whose name has no slash before it."""
    sign, name = ("!", text[1:]) if text.startswith("!") else ("", text)
    return sign + name.removeprefix("/").removesuffix(".git")
