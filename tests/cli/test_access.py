"""`gitpat-proxy access import-gitolite`."""

from pathlib import Path

from gitpat_proxy.config.loader import load_access
from tests.cli.program import run

CONFIGURATION = """
@devs = alice bob
repo team/app
    RW+ = @devs
    RW v[0-9] = carol
    R = @all
"""


def test_what_is_printed_is_a_file_of_rules(tmp_path: Path) -> None:
    file = tmp_path / "gitolite.conf"
    file.write_text(CONFIGURATION)
    found = run(None, "access", "import-gitolite", str(file))
    assert found.code == 0
    assert found.err == f"{file}:5: refs/heads/v[0-9]: a regular expression that is no pattern here\n"
    (tmp_path / "access.yaml").write_text(found.out)
    rules = load_access(tmp_path / "access.yaml")
    assert [rule.place for rule in rules.of_account("bob")] == ["access.yaml:4", "access.yaml:10"]
    assert [rule.allow for rule in rules.of_account("carol")] == ["code:read", "code:read"]


def test_nothing_is_printed_where_a_denial_may_be_hidden(tmp_path: Path) -> None:
    file = tmp_path / "gitolite.conf"
    file.write_text(f'{CONFIGURATION}include "*.conf"\n')
    found = run(None, "access", "import-gitolite", str(file))
    assert (found.code, found.out) == (1, "")
    assert found.err.splitlines() == [
        f'{file}:7: include "*.conf": may hold anything, and is not read; put what it stands for in its '
        "place",
        "gitpat-proxy: nothing is imported: these lines could take away what others give",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    found = run(None, "access", "import-gitolite", str(tmp_path / "none"))
    assert "No such file" in found.refusal
