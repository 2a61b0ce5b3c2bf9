"""git/ and access/ are pure: nothing in them can reach a disk, a network or a clock."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gitpat_proxy

PACKAGE = Path(gitpat_proxy.__file__).parent
PURE = ["git", "access"]
MODULES = [path for room in PURE for path in sorted((PACKAGE / room).glob("**/*.py"))]

# All that they need from elsewhere; what is not here is added when it is seen to be pure.
PURE_LIBRARIES = {
    *["base64", "binascii", "collections", "dataclasses", "datetime", "enum", "hashlib", "ipaddress"],
    *["functools", "itertools", "json", "re", "string", "typing", "unicodedata", "urllib", "zlib"],
    "secrets",  # randomness is the one thing from outside
    "zxcvbn",  # lists of words
}
ALLOWED_BELOW = {"git": {"git"}, "access": {"git", "access"}}


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def test_there_is_something_to_look_at() -> None:
    assert len(MODULES) > 12


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_pure_module_imports_nothing_that_does_io(module: Path) -> None:
    room = module.relative_to(PACKAGE).parts[0]
    for name in imports(ast.parse(module.read_text())):
        parts = name.split(".")
        if parts[0] == "gitpat_proxy":
            assert parts[1] in ALLOWED_BELOW[room], name
        else:
            assert parts[0] in PURE_LIBRARIES, name
            assert name not in {"urllib.request", "urllib.robotparser"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_pure_module_opens_nothing_and_asks_no_clock(module: Path) -> None:
    tree = ast.parse(module.read_text())
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {ast.unparse(function).split(".")[-1] for function in calls}
    forbidden = {"open", "print", "input", "exec", "eval", "__import__", "now", "utcnow", "today"}
    assert not called & forbidden


@pytest.mark.parametrize("room", PURE)
def test_importing_a_pure_room_loads_no_io(room: str) -> None:
    names = [f"gitpat_proxy.{room}.{path.stem}" for path in (PACKAGE / room).glob("*.py")]
    program = f"import sys, {', '.join(names)}; print(*sys.modules)".replace(".__init__", "")
    # -S: nothing that is installed can be imported, and nothing is loaded beforehand.
    command = [sys.executable, "-S", "-c", program]
    loaded = set(subprocess.check_output(command, cwd=PACKAGE.parent, text=True).split())
    assert not loaded & {"asyncio", "socket", "ssl", "sqlite3", "subprocess", "logging", "pathlib"}


@pytest.mark.parametrize("init", sorted(PACKAGE.glob("*/**/__init__.py")))
def test_no_room_re_exports_another(init: Path) -> None:
    assert list(imports(ast.parse(init.read_text()))) == []
