"""The lines of gitolite 3's configuration (gitolite.com/gitolite/conf), as gitolite reads them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

EVERYBODY = "@all"

_OTHER = re.compile(r"(include|subconf|macro|end\b|=)")
_RULE = re.compile(r"(-|C|R|RW\+?(?:C?D?|D?C?)M?) (?:(.*) )?= (.+)")


@dataclass(frozen=True)
class Remark:
    """What can't be carried over; `line` counts from 1."""

    line: int
    sentence: str


@dataclass(frozen=True)
class Rule:
    """What users may do with repositories, in gitolite's own words."""

    line: int
    permission: str
    refs: tuple[str, ...]
    users: tuple[str, ...]
    repositories: tuple[str, ...]

    @property
    def is_denial(self) -> bool:
        return self.permission == "-"

    @property
    def tests_pushes(self) -> bool:
        """Whether it may refuse a push for what is in it, and not for its refs."""
        virtual = [ref for ref in self.refs if ref.startswith("VREF/")]
        return any(self.is_denial or not ref.startswith("VREF/NAME/") for ref in virtual)


@dataclass
class Reader:
    """The lines as they come: what gitolite remembers of them."""

    groups: dict[str, dict[str, None]] = field(default_factory=dict)
    repositories: tuple[str, ...] = ()
    rules: list[Rule] = field(default_factory=list)
    denying_readers: list[str] = field(default_factory=list)
    """The repositories whose denials hold for reading, too."""
    remarks: list[Remark] = field(default_factory=list)
    unreadable: list[Remark] = field(default_factory=list)

    def read(self, number: int, line: str) -> None:
        """Take in one line, which is not empty."""
        unquoted = re.sub('"[^"]*"', "", line)
        if unquoted.endswith("\\") or "#" in unquoted or _OTHER.match(unquoted):
            sentence = "may hold anything, and is not read; put what it stands for in its place"
            self.unreadable.append(Remark(number, f"{line}: {sentence}"))
        elif match := re.fullmatch(r"(@\S+) = (.*)", line):
            members = self._expanded(number, match[2].split())
            self.groups.setdefault(match[1], {}).update(dict.fromkeys(members))
        elif match := re.fullmatch(r"repo (.+)", line):
            self.repositories = tuple(name.removesuffix(".git") for name in match[1].split())
        elif match := _RULE.fullmatch(line):
            refs = self._refs(number, match[2] or "")
            users = tuple(match[3].split())
            self.rules.append(Rule(number, match[1], refs, users, self.repositories))
        elif match := re.fullmatch(r"(?:option|config) (\S+) =(.*)", line):
            self._read_option(number, match[1].removeprefix("gitolite-options."), match[2], line)
        elif re.match(r"config |(desc|owner|category) = |\S+( \".*\")? = \"", line):
            self.remarks.append(Remark(number, f"{line}: has no counterpart"))
        else:
            self.unreadable.append(
                Remark(number, f"{line}: is no line of gitolite's that is known here")
            )

    def _read_option(self, number: int, name: str, value: str, line: str) -> None:
        if name in {"CREATE_IS_C", "DELETE_IS_D", "MERGE_CHECK"}:
            self.unreadable.append(
                Remark(number, f"{line}: changes what permissions mean; write those instead")
            )
            return
        if name == "deny-rules" and value.strip() not in {"", "0"}:
            self.denying_readers += self.repositories
        self.remarks.append(Remark(number, f"{line}: has no counterpart"))

    def _refs(self, number: int, text: str) -> tuple[str, ...]:
        refs = self._expanded(number, text.split()) or ["refs/.*"]
        qualified = [re.sub(r"^NAME/", "VREF/NAME/", ref) for ref in refs]
        return tuple(
            ref if ref.startswith(("refs/", "VREF/")) else f"refs/heads/{ref}" for ref in qualified
        )

    def _expanded(self, number: int, words: Iterable[str]) -> list[str]:
        found: list[str] = []
        for word in words:
            if not word.startswith("@") or word == EVERYBODY:
                found.append(word)
            elif word in self.groups:
                found += self.groups[word]
            else:
                # gitolite itself goes no further than here.
                self.unreadable.append(Remark(number, f"{word}: the group is not defined before"))
        return found


def read(text: str) -> Reader:
    """Read the lines of a configuration of gitolite's."""
    reader = Reader()
    for number, line in enumerate(text.split("\n"), start=1):
        if normal := _normal(line):
            reader.read(number, normal)
    return reader


def _normal(line: str) -> str:
    """Without a comment, unless its # is quoted, and with single spaces."""
    line = re.sub(r'^((?:"[^"]*"|[^#"])*)#.*', r"\1", line)
    return " ".join(re.sub("=", " = ", line, count=1).split())
