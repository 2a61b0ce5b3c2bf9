"""What the commands print for people: tables that fit a terminal, and texts that are harmless there."""

import sys

import pytest

from gitpat_proxy.access.names import printable
from gitpat_proxy.cli.output import print_table, words

TOKEN = {
    "id": "babab-kokok",
    "account": "somebody@example.org",
    "name": "My Laptop in the office",
    "scopes": ["code:read", "work_items:read"],
    "status": "revoked",
    "expires_at": "2027-01-31T12:00:00Z",
    "last_used_at": None,
}


@pytest.mark.parametrize("columns", ["40", "80", "120"])
def test_ids_and_times_are_never_folded(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "dumb")
    print_table(list(TOKEN), [TOKEN])
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    [row] = [line for line in lines if TOKEN["id"] in line]
    assert "revoked  2027-01-31 12:00  -" in row
    assert "STATUS   EXPIRES (UTC)     LAST USED (UTC)" in printed
    assert max(map(len, lines)) <= max(80, int(columns))
    assert "My" in row
    assert "office" in printed


def test_without_a_terminal_nothing_is_folded(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(list(TOKEN), [TOKEN])
    _, row = capsys.readouterr().out.splitlines()
    assert "My Laptop in the office  code:read, work_items:read  revoked  2027-01-31 12:00  -" in row


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("refs/heads/größe 漢字 x", "refs/heads/größe 漢字 x"),
        ("a\x1b]0;owned\x07\nb\r\tc", r"a\x1b]0;owned\x07\nb\r\tc"),
        ("\x7f\x9b31m", r"\x7f\x9b31m"),
        ("main\u202eniam\u200b\u2028\u2029\ufeff", r"main\u202eniam\u200b\u2028\u2029\ufeff"),
        ("\udcff", r"\udcff"),
        ("", ""),
    ],
)
def test_what_a_terminal_would_act_on_or_hide_is_written_as_an_escape(text: str, printed: str) -> None:
    assert printable(text) == words(text) == printed
    assert words([text, "x"]) == f"{printed}, x"
