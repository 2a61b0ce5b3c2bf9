"""What the commands print: the same objects as text for people and as JSON for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from unicodedata import category

from rich.console import Console
from rich.table import Table


def print_json(value: object) -> None:
    """Print one JSON value."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], objects: Iterable[Mapping[str, object]]) -> None:
    """Print a row for each object, a column for each key named."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " ").upper(), overflow="fold")
    for item in objects:
        table.add_row(*(words(item[column]) for column in columns))
    # Without a terminal lines are not wrapped: the reader is a program.
    console = Console(width=None if sys.stdout.isatty() else 400, markup=False, highlight=False)
    console.print(table)


def print_object(item: Mapping[str, object]) -> None:
    """Print a line for each key."""
    width = max(map(len, item)) + 1
    for key, value in item.items():
        print(f"{key.replace('_', ' ') + ':':{width}} {words(value)}")


def say(text: str) -> None:
    """Tell the person something that is not the command's result: on standard error."""
    print(text, file=sys.stderr)


def words(value: object) -> str:
    """Return a value of a JSON object as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(words, value))
    return printable(str(value))


def printable(text: str) -> str:
    """Return the text with what a terminal would act on, or hide, written as an escape."""
    return "".join(
        character.encode("unicode_escape").decode() if category(character) in _UNSAFE else character
        for character in text
    )


_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
