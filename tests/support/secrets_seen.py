"""Remembers every secret of the test run, and looks for them where they must not be."""

import base64
import re
import threading
from functools import cache
from pathlib import Path

_PLAIN = re.compile("gpat_[0-9A-Za-z]{46}")


def _encoded(text: str) -> tuple[str, ...]:
    """Return what of the text does not change with its place in a Basic header's base64."""
    return tuple(
        base64.b64encode(b"x" * shift + text.encode()).decode()[
            -(-8 * shift // 6) : 8 * (shift + len(text)) // 6
        ]
        for shift in range(3)
    )


_ENCODED = _encoded("gpat_")
_forms = cache(_encoded)


class SecretsSeen:
    """All secrets used, all places where the proxy wrote, and all that git printed of it."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        self.passwords: set[str] = set()
        self.folders: set[Path] = set()
        self.texts: list[str] = []
        self.command_lines: set[str] = set()
        self.environments: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def leaks(self) -> list[str]:
        """Name the places in which a secret stands; nothing is watched any more then."""
        self.stop()
        found = [f"printed: {text!r}" for text in self.texts if self._has_secret(text)]
        found += [f"process list: {line!r}" for line in self.command_lines if self._has_secret(line)]
        found += [f"environment: {text[:80]!r}" for text in self.environments if self._has_secret(text)]
        for folder in self.folders:
            for path in folder.rglob("*"):
                # The repositories' content is the people's own.
                if path.is_dir() or "repositories" in path.parts:
                    continue
                if self._has_secret(path.read_bytes().decode("latin-1")):
                    found.append(f"file: {path}")
        return found

    def _has_secret(self, text: str) -> bool:
        if self.secrets.intersection(_PLAIN.findall(text)) or any(p in text for p in self.passwords):
            return True
        return any(
            form in text
            for start in _ENCODED
            if start in text
            for s in self.secrets
            for form in _forms(s)
        )

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            for process in Path("/proc").glob("[0-9]*"):
                self._look_at(process)

    def _look_at(self, process: Path) -> None:
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("latin-1")
            self.command_lines.add(command)
            if "git-http-backend" in command or "gitpat-proxy" in command:
                self.environments.add((process / "environ").read_bytes().decode("latin-1"))
        except OSError:
            return


SEEN = SecretsSeen()
