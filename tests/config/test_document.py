"""A YAML document, and where each of its keys stands."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.config.document import Document

KEYS = st.sampled_from(["a", "b", "on", "1", "no", "~", "2026-01-01"])
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc :\n#-", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, DATA), st.sampled_from([None, True, False]))
def test_whatever_is_written_is_read_and_each_key_found(
    data: dict[str, object], flow: bool | None
) -> None:
    text = yaml.safe_dump(data, default_flow_style=flow, sort_keys=False)
    document = Document(text)
    assert document.data == data
    assert document.mistakes == []
    lines = text.split("\n")
    for key in data:
        assert key in lines[document.line_of((key,)) - 1]
        assert document.line_of((key, "no", "such", 1)) <= len(lines)


LINES = [
    "a: ",
    "b: ",
    "- ",
    "  ",
    "? ",
    ": ",
    "\n",
    "<<: ",
    "&x ",
    "*x",
    "{",
    "}",
    "[",
    "]",
    "'",
    '"',
    "|",
    ">",
    "---",
]
VALUES = [
    "1",
    "1e9",
    "0x1",
    "1:60",
    "on",
    "~",
    "2026-99-01",
    "2026-01-01 25:00:00",
    "=",
    "%",
    "@",
    "\t",
    "#",
]


@given(st.lists(st.sampled_from([*LINES, *VALUES]) | st.text(max_size=2), max_size=12).map("".join))
def test_any_text_is_a_document_or_one_of_two_errors(text: str) -> None:
    try:
        document = Document(text)
    except (yaml.YAMLError, ValueError):
        return
    assert all(document.line_of(location) >= 1 for location, _ in document.mistakes)
    assert document.line_of(("a", 0, "b")) <= text.count("\n") + text.count("\r") + 1


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "{a: 1, a: 3}", "a: {b: 1}\n'a': 2\n"])
def test_a_key_that_is_given_twice_is_a_mistake(text: str) -> None:
    [(location, message)] = Document(text).mistakes
    assert location == ("a",)
    assert message.startswith("given again on line")
