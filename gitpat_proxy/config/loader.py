"""From a file to a configuration, or to all its mistakes at once."""

import difflib
from datetime import date, datetime
from pathlib import Path
from typing import get_args

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gitpat_proxy.access.rules import AccessRules
from gitpat_proxy.config.document import Document
from gitpat_proxy.config.errors import ConfigError, Problem
from gitpat_proxy.config.model import AccessFile, Config, Section, rules_of
from gitpat_proxy.config.problems import Location, Mistake, config_problems, rule_problems


def load(file: Path) -> Config:
    """Read a configuration file; raise ConfigError with all its problems."""
    document = _document_in(file, "name one with --config or GITPAT_PROXY_CONFIG")
    config, mistakes = _validate(document.data, file.parent.absolute())
    if config is None or mistakes or document.mistakes:
        raise _error(file, document, mistakes)
    config.place_rules(_places(file, document, len(config.access or ())))
    return config


def load_access(file: Path) -> AccessRules:
    """Read a file of groups and rules; raise ConfigError with all its problems."""
    document = _document_in(file, "access_file names it")
    read, mistakes = _validate_access(document.data)
    if read is None or mistakes or document.mistakes:
        raise _error(file, document, mistakes)
    return rules_of(read.groups, read.access, _places(file, document, len(read.access)))


def _places(file: Path, document: Document, number: int) -> list[str]:
    """Return where each rule stands; people who may not see the file's folder are told, too."""
    return [f"{file.name}:{document.line_of(('access', index))}" for index in range(number)]


def _document_in(file: Path, advice: str) -> Document:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([Problem(file, 0, "", f"there is no such file; {advice}")]) from None
    except PermissionError as error:
        # Most likely root made it, and the service runs as another user.
        advice = "the user who runs gitpat-proxy has to be able to"
        raise ConfigError([Problem(file, 0, "", f"can't be read: {error.strerror}; {advice}")]) from None
    except OSError as error:
        raise ConfigError([Problem(file, 0, "", f"can't be read: {error.strerror}")]) from None
    except UnicodeError:
        raise ConfigError([Problem(file, 0, "", "can't be read: it is no text in UTF-8")]) from None
    try:
        return Document(text)
    except _NO_DOCUMENT as error:
        raise ConfigError([_yaml_problem(file, error)]) from None


def _error(file: Path, document: Document, mistakes: list[Mistake]) -> ConfigError:
    problems = [
        Problem(file, document.line_of(location), _key(location), message)
        for location, message in [*document.mistakes, *mistakes]
    ]
    return ConfigError(sorted(problems, key=lambda problem: problem.line))


# With PyYAML's own: what it raises for a tag that does not fit (`!!int x`), and for what is too deep.
_NO_DOCUMENT = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)


def _validate(data: object, base: Path) -> tuple[Config | None, list[Mistake]]:
    """Validate; where keys are wrong, look between the others too, so that all is said at once."""
    if not isinstance(data, dict):
        return None, [((), "the file must hold keys, as config.example.yaml does")]
    try:
        config = Config.model_validate(data, context=base)
    except ValidationError as error:
        errors = error.errors()
        mistakes = [_mistake(details) for details in errors]
        wrong = {_section_at(e["loc"]) for e in errors if e["type"] != "extra_forbidden"}
        return None, mistakes + _mistakes_between(data, base, wrong)
    return config, config_problems(config)


def _validate_access(data: object) -> tuple[AccessFile | None, list[Mistake]]:
    if not isinstance(data, dict):
        return None, [((), "the file must hold access, and groups where it has any")]
    try:
        read = AccessFile.model_validate(data)
    except ValidationError as error:
        return None, [_mistake(details, AccessFile) for details in error.errors()]
    return read, list(rule_problems(read.groups or {}, read.access))


# What stands in for a route that is wrong, so that the others keep their places.
_STAND_IN = {"path": "/wrong", "repositories": "."}


def _mistakes_between(data: dict[str, object], base: Path, wrong: set[Location]) -> list[Mistake]:
    """Look between the keys of the sections in which nothing is wrong by itself."""
    rest = {key: value for key, value in data.items() if (key,) not in wrong}
    routes = rest.get("routes")
    rest["routes"] = [
        _STAND_IN if ("routes", index) in wrong else route
        for index, route in enumerate(routes if isinstance(routes, list) else [_STAND_IN])
    ]
    if {("tls",), ("trusted_proxies",)} & wrong:
        wrong = wrong | {("listen",)}
    mistakes = config_problems(Config.model_validate(_known(Config, rest), context=base))
    return [mistake for mistake in mistakes if _section_at(mistake[0]) not in wrong]


def _known(section: type[Section] | None, value: object) -> object:
    """Return a section, or a list of them, without unknown keys; those are named already."""
    if section and isinstance(value, list):
        return [_known(section, item) for item in value]
    if section and isinstance(value, dict):
        fields = keys_of(section)
        return {
            key: _known(_section_in(fields[key]), item) for key, item in value.items() if key in fields
        }
    return value


def keys_of(section: type[Section]) -> dict[str, FieldInfo]:
    """Return a section's fields by the keys that people type; `from` can't be a name in Python."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _section_in(field: FieldInfo | None) -> type[Section] | None:
    """Return the section that a field holds, alone or in a list."""
    return _section_of_type(field.annotation) if field else None


def _section_of_type(annotation: object) -> type[Section] | None:
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, Section) else None
    return next(filter(None, map(_section_of_type, get_args(annotation))), None)


def _section_at(location: Location) -> Location:
    """Return the section that a location lies in: a key of the file, or one of the routes."""
    return location[:2] if location[:1] == ("routes",) else location[:1]


def _mistake(details: ErrorDetails, model: type[Section] = Config) -> Mistake:
    """Turn an error of pydantic's into a sentence that says what is accepted."""
    location = tuple(part for part in details["loc"] if part not in _TYPE_MARKS)
    section, field = _field_at(location, model)
    if details["type"] == "extra_forbidden":
        keys = keys_of(section)
        close = difflib.get_close_matches(str(location[-1]), keys, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return location, f"unknown key; {hint}accepted here: {', '.join(keys)}"
    sentence = _sentence(details)
    if "; accepted: " in sentence:
        return location, sentence
    return location, f"{sentence}; accepted: {_accepted(field)}"


def _sentence(details: ErrorDetails) -> str:
    """Say what is wrong; not pydantic's words, which speak of Python, and never the value.

    What stands in a wrong place may be a password.
    """
    if details["type"] == "missing":
        return "required and not there"
    if details["type"] == "value_error":
        return details["msg"].removeprefix("Value error, ")
    if details["input"] is None:
        return "nothing is given"
    return f"{_KINDS.get(type(details['input']), 'this value')} can't be used here"


# What YAML makes of a value, as people would call it.
_KINDS: dict[type, str] = {
    bool: "true or false",
    date: "a date",
    datetime: "a time",
    dict: "a mapping",
    float: "this number",
    int: "this number",
    list: "a list",
    str: "this text",
}


def _accepted(field: FieldInfo | None) -> object:
    extra = field.json_schema_extra if field else None
    return extra["accepted"] if isinstance(extra, dict) else "keys and values"


# What pydantic puts into a location for the member of a union, or for a key itself.
_TYPE_MARKS = {"function-after[_read_path(), path]", "function-after[_read_url(), str]", "[key]"}


def _field_at(location: Location, section: type[Section]) -> tuple[type[Section], FieldInfo | None]:
    """Return the innermost section and field that a location leads to, from the outermost."""
    field: FieldInfo | None = None
    for part in location:
        if isinstance(part, int):
            continue
        field = keys_of(section).get(part)
        inner = _section_in(field)
        if inner is None:
            break
        section = inner
    return section, field


def _key(location: Location) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def _yaml_problem(file: Path, error: Exception) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return Problem(file, mark.line + 1 if mark else 1, "", f"no valid YAML: {what}")
