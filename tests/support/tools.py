"""Programs that a machine may lack."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

LIBFAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def require(name: str, *, found: bool | None = None) -> None:
    """Skip the test without the program; where everything is required, fail it."""
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    if found if found is not None else shutil.which(name, path=search):
        return
    skip(f"{name} is not installed; tests/install-debian-packages says how to get it")


def skip(reason: str) -> NoReturn:
    """Skip the test for what the machine can't do; where everything is required, fail it."""
    if os.environ.get("GITPAT_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
