"""The table of commands: it says what their modules say, without loading one."""

import subprocess
import sys

import pytest

from gitpat_proxy.cli.commands import PLACES, loaded

HEAVY = {"sqlalchemy", "pydantic", "aiohttp", "passlib", "rich", "structlog", "yaml"}
# Runs the program, and tells last what it has loaded by then.
PROGRAM = """
import sys
from gitpat_proxy.cli.main import main
try:
    main()
finally:
    print(*sys.modules)
"""


def loaded_by(*arguments: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False
    )
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("name", PLACES)
def test_the_table_says_of_a_command_what_its_module_says(name: str) -> None:
    command = loaded(name)
    assert (command.name, command.help) == (name, PLACES[name].help)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], [], ["--nonsense"], ["tokne"]])
def test_what_calls_no_command_loads_none(arguments: list[str]) -> None:
    modules = loaded_by(*arguments)
    assert "gitpat_proxy.cli.main" in modules
    # With a name that may be a command's, typer reads --config first, by pydantic.
    assert modules & HEAVY <= ({"pydantic"} if arguments == ["tokne"] else set())
    assert not modules & {place.found_at.partition(":")[0] for place in PLACES.values()}


def test_a_command_loads_no_server() -> None:
    modules = loaded_by("token", "create", "--help")
    assert "gitpat_proxy.cli.token" in modules
    assert not modules & {"aiohttp", "alembic", "jinja2", "passlib", "rich", "structlog"}
