"""What the commands print: the same objects as text for people and as JSON for programs."""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence

from gitpat_proxy.access.names import printable


def print_json(value: object) -> None:
    """Print one JSON value."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], objects: Iterable[Mapping[str, object]]) -> None:
    """Print a row for each object, a column for each key named.

    What is copied or compared (ids, times, states) stays on one line; the rest shares what is left.
    """
    # Other commands start without it.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        whole = column in {"id", "status", "parent"} or _is_time(column)
        table.add_column(_heading(column), overflow="fold", no_wrap=whole)
    for item in objects:
        table.add_row(*(_cell(column, item[column]) for column in columns))
    # Without a terminal lines are not wrapped: the reader is a program. In less than 80 columns the
    # table would lose some of its own.
    width = max(80, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 400
    Console(width=width, markup=False, highlight=False).print(table)


def _heading(column: str) -> str:
    name = f"{column.removesuffix('_at')}_(utc)" if _is_time(column) else column
    return name.replace("_", " ").upper()


def _is_time(column: str) -> bool:
    return column.endswith("_at")


def _cell(column: str, value: object) -> str:
    """Return a value's words, a time's without its seconds: all are in UTC, as the heading says."""
    text = words(value)
    return text[: len("2027-01-31T12:00")].replace("T", " ") if _is_time(column) else text


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
