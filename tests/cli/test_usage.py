"""Exit codes and errors: 0 done, 1 refused or failed with one line, 2 wrong usage."""

import re
from pathlib import Path

from gitpat_proxy import __version__
from gitpat_proxy.cli.database import outcome
from tests.cli.program import run, run_each
from tests.support.proxy import Proxy

# What is asked, and what the last line on standard error has.
WRONG = [
    ([], "Missing command"),
    (["token", "nonsense"], "No such command 'nonsense'"),
    (["--nonsense"], "No such option: --nonsense"),
    (["token", "create", "--name", "x"], "Missing option '--account'"),
    (["token", "revoke"], "Missing argument 'ID'"),
    (["token", "edit", "x"], "give at least one of --name, --scope, --expires, --not-before, --from"),
    (["token", "list", "--status", "x"], "'x' is not one of 'active', 'pending', 'expired'"),
    (["audit", "--since", "999999w"], "--since"),
    (["audit", "--since", "5x"], "accepted: a number of m (minutes), h (hours), d (days) or w (weeks)"),
    (["demo", "--port", "0"], "--port"),
]
# What can't be done, and the whole sentence.
REFUSED = [
    (
        ["account", "add", "a b"],
        "'a b' can't be an account's name; accepted: 1 to 64 of A-Z a-z 0-9 . _ @ + -, "
        "the first a letter or a digit",
    ),
    (
        ["account", "disable", "bob"],
        "there is no account bob; `account list` shows all, `account add` makes one",
    ),
    (["token", "show", "x"], "there is no token x; `token list --status all` shows them"),
    (["token", "revoke", "x", "y"], "there is no token x, y; `token list --status all` shows them"),
    (
        ["token", "create", "--account", "alice", "--name", "x"],
        "a token needs at least one scope; accepted: code:read, code:write, tokens:delegate, "
        "tokens:read, tokens:write, work_items:read",
    ),
]


def test_wrong_usage_is_2_and_says_what_is_right(proxy: Proxy) -> None:
    runs = run_each(proxy, [command for command, _ in WRONG])
    for (command, message), found in zip(WRONG, runs, strict=True):
        assert (found.code, found.out) == (2, ""), command
        assert message in found.err.splitlines()[-1], command


def test_what_can_not_be_done_is_1_and_one_line(proxy: Proxy) -> None:
    runs = run_each(proxy, [command for command, _ in REFUSED])
    assert [found.refusal for found in runs] == [sentence for _, sentence in REFUSED]


def test_an_argument_that_is_no_text_is_one_line_as_well(proxy: Proxy) -> None:
    found = run(proxy, "token", "show", "\udcff")
    assert found.code in {1, 2}
    assert (found.out, found.err.count("\n")) == ("", 1)


def test_help_and_version_need_no_configuration() -> None:
    commands = [["--version"], ["--help"], ["token", "create", "--help"]]
    version, help_, token_help = run_each(None, commands)
    assert (version.code, version.out) == (0, f"gitpat-proxy {__version__}\n")
    assert (help_.code, token_help.code) == (0, 0)
    for command in ("demo", "serve", "check", "account", "access", "token", "audit", "database"):
        assert f"\n  {command} " in help_.out
    for option in ("--account", "--name", "--scope", "--expires", "--not-before", "--from", "--json"):
        assert option in token_help.out


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    expected = "config.yaml: there is no such file; name one with --config or GITPAT_PROXY_CONFIG"
    assert run(None, "account", "list", folder=tmp_path).refusal == expected


def test_the_configuration_is_found_here_or_by_the_environment(proxy: Proxy, tmp_path: Path) -> None:
    here = run(None, "account", "list", "--json", folder=proxy.folder)
    variable = {"GITPAT_PROXY_CONFIG": str(proxy.config_file)}
    elsewhere = run(None, "account", "list", "--json", folder=tmp_path, environment=variable)
    assert [account["name"] for account in here.json] == ["alice"]
    assert elsewhere.json == here.json


def test_all_mistakes_of_a_configuration_are_told_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("listne: x\nroutes: [{path: /, repositories: none}]\n")
    found = run(None, "token", "list", folder=tmp_path)
    assert (found.code, found.out) == (1, "")
    assert found.err.count("\n") == 2
    assert "config.yaml:1: listne: unknown key; did you mean listen?" in found.err
    assert f"config.yaml:2: routes[0].repositories: {tmp_path}/none is not a folder" in found.err


def test_a_database_that_can_not_be_used_is_one_line(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "proxy")
    path = proxy.folder / "gitpat.db"
    missing = f"there is no database {path} yet; `gitpat-proxy database upgrade` makes it"
    assert run(proxy, "account", "list").refusal == missing
    path.write_text("no database, " * 1000)
    unusable = f"the database {path} can't be used: file is not a database"
    assert run(proxy, "database", "upgrade").refusal == unusable
    path.unlink()
    made = run(proxy, "database", "upgrade")
    assert (made.code, made.out) == (0, "")
    assert made.err == f"The database sqlite:///{path} is made.\n"
    assert run(proxy, "account", "list", "--json").json == []


def test_an_upgrade_says_what_it_did(proxy: Proxy) -> None:
    again = run(proxy, "database", "upgrade")
    assert again.err == f"The database sqlite:///{proxy.folder}/gitpat.db was up to date already.\n"
    assert outcome("0001", "0002") == "is upgraded from 0001 to 0002"


def test_help_names_what_is_typed_and_not_the_programs_types() -> None:
    commands = [["token", name, "--help"] for name in ("create", "edit", "list", "revoke")]
    for found in run_each(None, [*commands, ["audit", "--help"]]):
        options = found.out.partition("Options:")[2]
        assert not re.search(r"<(list\[)?str\]?>", options), options
    create = " ".join(run(None, "token", "create", "--help").out.split())
    for option in ("--not-before TIME", "--from CIDR"):
        assert re.search(rf"{option} .*\bany\.", create), option
