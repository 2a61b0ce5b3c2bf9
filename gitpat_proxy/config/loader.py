"""From a file to a configuration, or to all its mistakes at once."""

import difflib
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
    """Validate; where keys are wrong, look between the others too, so that all is said at once."""
    if not isinstance(data, dict):
        return None, [((), "the file must hold keys, as config.example.yaml does")]
    try:
        config = Config.model_validate(data, context=base)
    except ValidationError as error:
        errors = error.errors()
        mistakes = [_mistake(details["loc"], details["type"], details["msg"]) for details in errors]
        wrong = {_section_at(e["loc"]) for e in errors if e["type"] != "extra_forbidden"}
        return None, mistakes + _mistakes_between(data, base, wrong)
    return config, config_problems(config)


_SECTIONS: dict[str, type[Section]] = {
    "routes": RouteConfig,
    "tls": Tls,
    "tokens": TokenLifetimes,
    "limits": Limits,
}
# What stands in for a route that is wrong, so that the others keep their places.
_STAND_IN = {"path": "/wrong", "repositories": "."}


def _mistakes_between(data: dict[str, object], base: Path, wrong: set[Location]) -> list[Mistake]:
    """Look between the keys of the sections in which nothing is wrong by itself."""
    rest = {
        key: _known(_SECTIONS.get(key), value)
        for key, value in data.items()
        if key in Config.model_fields and (key,) not in wrong
    }
    routes = rest.get("routes")
    rest["routes"] = [
        _STAND_IN if ("routes", index) in wrong else _known(RouteConfig, route)
        for index, route in enumerate(routes if isinstance(routes, list) else [_STAND_IN])
    ]
    if {("tls",), ("trusted_proxies",)} & wrong:
        wrong = wrong | {("listen",)}
    mistakes = config_problems(Config.model_validate(rest, context=base))
    return [mistake for mistake in mistakes if _section_at(mistake[0]) not in wrong]


def _known(section: type[Section] | None, value: object) -> object:
    """Return a section without the keys that it does not have; they are named already."""
    if section is None or not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if key in section.model_fields}


def _section_at(location: Location) -> Location:
    """Return the section that a location lies in: a key of the file, or one of the routes."""
    return location[:2] if location[:1] == ("routes",) else location[:1]


def _mistake(location: Location, kind: str, message: str) -> Mistake:
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


# What pydantic puts into a location for the member of a union, or for a key itself.
_TYPE_MARKS = {"function-after[_read_path(), path]", "function-after[_read_url(), str]", "[key]"}


def _field_at(location: Location) -> tuple[type[Section], FieldInfo | None]:
    """Return the innermost section and field that a location leads to."""
    section: type[Section] = Config
    field: FieldInfo | None = None
    for part in location:
        if isinstance(part, int):
            continue
        field = section.model_fields.get(part)
        if part not in _SECTIONS:
            break
        section = _SECTIONS[part]
    return section, field


def _key(location: Location) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def _yaml_problem(file: Path, error: yaml.YAMLError | ValueError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return Problem(file, mark.line + 1 if mark else 1, "", f"no valid YAML: {what}")
