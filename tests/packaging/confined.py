"""Runs a program as a unit's settings for system calls and privileges confine it, without systemd.

python confined.py UNIT PROGRAM ARGUMENT...
"""

import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

LIBRARY = "libseccomp.so.2"

# Numbers of prctl, libseccomp, mprotect and chmod, by their names there.
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7
_WRITE, _EXEC = 2, 4
_SETGID = 0o2000
_MODES = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "mkdir": 1, "mkdirat": 2}
"""Which argument of a call is a mode."""
_FAMILIES = 46
"""As many address families as Linux has."""


class _Condition(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


class _Filter:
    """What becomes of system calls that no rule names, and the rules."""

    def __init__(self, otherwise: int) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(otherwise))

    def add(self, action: int, call: str, *conditions: _Condition) -> None:
        """Add a rule; a call that this kind of processor does not have needs none."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            return
        array = (_Condition * len(conditions))(*conditions)
        _done(
            self._library.seccomp_rule_add_array(self._context, action, number, len(conditions), array)
        )

    def load(self) -> None:
        _done(self._library.seccomp_load(self._context))


def _done(result: int) -> None:
    if result:
        raise OSError(-result, os.strerror(-result))


def values(unit: Path, key: str) -> list[str]:
    """Return all that a unit says for a key, in order."""
    lines = unit.read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


def _permitted_calls(unit: Path) -> set[str]:
    permitted: set[str] = set()
    for value in values(unit, "SystemCallFilter"):
        calls = _calls_of(value.removeprefix("~").split())
        permitted = permitted - calls if value.startswith("~") else permitted | calls
    return permitted


def _calls_of(names: Iterable[str]) -> set[str]:
    """Return the calls that the names mean; those with an @ are sets, which may hold others."""
    calls = set()
    for name in names:
        calls |= _calls_of(_members(name)) if name.startswith("@") else {name}
    return calls


def _members(name: str) -> list[str]:
    command = ["systemd-analyze", "syscall-filter", "--no-pager", name]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line.strip() for line in text.splitlines()[1:] if line.strip() and "#" not in line]


def confine(unit: Path) -> None:
    """Confine this process and all that it starts."""
    refused = _ERRNO | errno.EPERM
    by_argument = _Filter(_ALLOW)
    if values(unit, "MemoryDenyWriteExecute") == ["true"]:
        both = _WRITE | _EXEC
        by_argument.add(refused, "mmap", _Condition(2, _MASKED_EQUAL, both, both))
        by_argument.add(refused, "mprotect", _Condition(2, _MASKED_EQUAL, _EXEC, _EXEC))
    if values(unit, "RestrictSUIDSGID") == ["true"]:
        for call, argument in _MODES.items():
            by_argument.add(refused, call, _Condition(argument, _MASKED_EQUAL, _SETGID, _SETGID))
    [families] = values(unit, "RestrictAddressFamilies")
    for number in set(range(_FAMILIES)) - {getattr(socket, name) for name in families.split()}:
        by_argument.add(_ERRNO | errno.EAFNOSUPPORT, "socket", _Condition(0, _EQUAL, number))
    by_name = _Filter(refused)
    # The second filter has to be loaded through the first.
    for call in _permitted_calls(unit) | {"seccomp"}:
        by_name.add(_ALLOW, call)
    this = ctypes.CDLL(None)
    for capability in range(64):
        this.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    this.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    by_argument.load()
    by_name.load()


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
