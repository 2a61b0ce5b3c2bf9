"""From a file to a configuration, or to all its mistakes at once."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from gitpat_proxy.config.document import Document
from gitpat_proxy.config.model import Config, Limits, RouteConfig, Section, Tls, TokenLifetimes
from gitpat_proxy.config.problems import Location, Mistake, config_problems


@dataclass(frozen=True)
class Problem:
    """One mistake in a configuration file; `line` counts from 1."""

    file: Path
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key + ': ' if self.key else ''}{self.message}"


class ConfigError(Exception):
    """The configuration can't be used."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load(file: Path) -> Config:
    """Read a configuration file; raise ConfigError with all its problems."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        sentence = "there is no such file; name one with --config or GITPAT_PROXY_CONFIG"
        raise ConfigError([Problem(file, 1, "", sentence)]) from None
    except (OSError, UnicodeError) as error:
        raise ConfigError([Problem(file, 1, "", f"can't be read: {error}")]) from None
    try:
        document = Document(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([_yaml_problem(file, error)]) from None
    config, mistakes = _validate(document.data, file.parent.absolute())
    problems = [
        Problem(file, document.line_of(location), _key(location), message)
        for location, message in [*document.mistakes, *mistakes]
    ]
    if problems or config is None:
        raise ConfigError(sorted(problems, key=lambda problem: problem.line))
    return config


def _validate(data: object, base: Path) -> tuple[Config | None, list[Mistake]]:
    """Validate; where keys are wrong, look between the others as well, so that all is said at once."""
    if not isinstance(data, dict):
        return None, [((), "the file must hold keys, as config.example.yaml does")]
    try:
        config = Config.model_validate(data, context=base)
    except ValidationError as error:
        locations = [details["loc"] for details in error.errors()]
        wrong = [_finding(details["loc"], details["type"], details["msg"]) for details in error.errors()]
        return None, wrong + _other_problems(_repaired(data, locations), base, locations)
    return config, config_problems(config)


def _other_problems(data: object, base: Path, wrong: list[Location]) -> list[Mistake]:
    """Look between the keys of a repaired configuration, wherever nothing was repaired."""
    try:
        mistakes = config_problems(Config.model_validate(data, context=base))
    except ValidationError:
        return []
    return [
        (location, message)
        for location, message in mistakes
        if not any(location == w[: len(location)] or location[: len(w)] == w for w in wrong)
    ]


# What stands in for a required key that is wrong, so that the others can be looked at.
_STAND_INS: dict[str | int, object] = {
    "routes": [{"path": "/wrong"}],
    "path": "/wrong",
    "certificate": ".",
    "key": ".",
}


def _repaired(data: object, locations: Iterable[Location]) -> object:
    """Return a copy in which what is wrong at `locations` is left out, or stood in for."""
    here = {location[0] for location in locations if len(location) == 1}
    below = [location for location in locations if len(location) > 1]

    def copy(key: str | int, value: object) -> object:
        inner = [location[1:] for location in below if location[0] == key]
        return _repaired(value, inner) if inner else value

    if isinstance(data, dict):
        kept = {key: copy(key, value) for key, value in data.items() if key not in here}
        return kept | {key: _STAND_INS[key] for key in here & _STAND_INS.keys()}
    if isinstance(data, list):
        return [copy(index, item) for index, item in enumerate(data) if index not in here]
    return data


def _finding(location: Location, kind: str, message: str) -> Mistake:
    """Turn an error of pydantic's into a sentence that says what is accepted."""
    location = tuple(part for part in location if part not in _TYPE_MARKS)
    section, field = _field_at(location)
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(str(location[-1]), section.model_fields, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return location, f"unknown key; {hint}accepted here: {', '.join(section.model_fields)}"
    accepted = field.json_schema_extra["accepted"] if field else "keys and values"  # type: ignore[index]
    if kind == "missing":
        return location, f"required and not there; accepted: {accepted}"
    words = message.removeprefix("Value error, ").removeprefix("Input ")
    return location, f"{words}; accepted: {accepted}"


# What pydantic puts into a location for the member of a union.
_TYPE_MARKS = {"function-after[_read_path(), path]", "function-after[_read_url(), str]"}


def _field_at(location: Location) -> tuple[type[Section], FieldInfo | None]:
    """Return the innermost section and field that a location leads to."""
    section: type[Section] = Config
    field: FieldInfo | None = None
    inner: dict[str, type[Section]] = {
        "routes": RouteConfig,
        "tls": Tls,
        "tokens": TokenLifetimes,
        "limits": Limits,
    }
    for part in location:
        if part in section.model_fields:
            field = section.model_fields[str(part)]
            section = inner.get(str(part), section)
    return section, field


def _key(location: Location) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def _yaml_problem(file: Path, error: yaml.YAMLError | ValueError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error)
    return Problem(file, mark.line + 1 if mark else 1, "", f"no valid YAML: {what}")
