"""docs/performance.md: what stands between two marks is written by the program that they name."""

from bench.errors import BenchError
from bench.surroundings import PROJECT

FILE = PROJECT / "docs" / "performance.md"
_END = "<!-- to here -->"


def write(text: str, program: str = "make bench") -> None:
    """Replace what stands between the program's marks; raise BenchError if they are not there."""
    mark = f"<!-- Written by `{program}` from here -->"
    before, begin, rest = FILE.read_text().partition(mark)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise BenchError(f"{FILE} has no place for the table: it needs the lines {mark} and {_END}")
    FILE.write_text(f"{before}{mark}\n\n{text}\n\n{_END}{after}")
