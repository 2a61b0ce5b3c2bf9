"""docs/performance.md: what stands between the two marks is written by the bench."""

from bench.errors import BenchError
from bench.surroundings import PROJECT

FILE = PROJECT / "docs" / "performance.md"
_BEGIN = "<!-- Written by `make bench` from here -->"
_END = "<!-- to here -->"


def write(text: str) -> None:
    """Replace what stands between the marks; raise BenchError if they are not there."""
    before, begin, rest = FILE.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise BenchError(f"{FILE} has no place for the table: it needs the lines {_BEGIN} and {_END}")
    FILE.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}")
