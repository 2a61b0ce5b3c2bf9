"""config.example.yaml and the models can't drift apart."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.fields import FieldInfo

from gitpat_proxy.config.loader import load, load_access
from gitpat_proxy.config.model import (
    AccessEntry,
    AccessFile,
    AuditKeeping,
    Config,
    HeaderSignIn,
    Limits,
    RouteConfig,
    Section,
    SignIn,
    SocketFile,
    Tls,
    TokenLifetimes,
)

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
TEXT = EXAMPLE.read_text()
# A key without a default stands behind a "#" without a space, or with more than one.
COMMENTED_OUT = re.compile(r"^#(?=[a-z]|  )", re.MULTILINE)
SHOWN: dict[str, Any] = yaml.safe_load(TEXT)
WHOLE: dict[str, Any] = yaml.safe_load(COMMENTED_OUT.sub("", TEXT))
SECTIONS: dict[str, type[Section]] = {
    "tls": Tls,
    "socket": SocketFile,
    "routes": RouteConfig,
    "access": AccessEntry,
    "tokens": TokenLifetimes,
    "limits": Limits,
    "audit": AuditKeeping,
    "sign_in": SignIn,
    "sign_in.header": HeaderSignIn,
}


def sections_of(document: dict[str, Any]) -> Iterator[tuple[type[Section], dict[str, Any]]]:
    """Yield each section of a document with its model; all routes together are one."""
    yield Config, document
    for key, model in SECTIONS.items():
        part: Any = document
        for name in key.split("."):
            part = part.get(name, {})
        if isinstance(part, list):
            # The first that has a key shows it.
            part = {name: value for item in reversed(part) for name, value in item.items()}
        yield model, part


def has_default(field: FieldInfo) -> bool:
    return not field.is_required() and field.default is not None


def test_the_sections_are_all_that_there_are() -> None:
    assert set(Section.__subclasses__()) == {Config, AccessFile, *SECTIONS.values()}


def test_the_access_file_has_keys_of_the_configuration() -> None:
    for name, field in AccessFile.model_fields.items():
        assert Config.model_fields[name].json_schema_extra == field.json_schema_extra


@pytest.mark.parametrize("model", [Config, *SECTIONS.values()])
def test_every_key_of_a_section_is_there_and_no_other(model: type[Section]) -> None:
    part = dict(sections_of(WHOLE))[model]
    assert set(part) == {field.alias or name for name, field in model.model_fields.items()}


def test_each_default_shown_is_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repositories").mkdir()
    for name in ("cert.pem", "key.pem", "upstream-password", "upstream-ca.pem"):
        (tmp_path / name).write_text("word")
    monkeypatch.setenv("UPSTREAM_PASSWORD", "word")
    whole = Config.model_validate(WHOLE, context=tmp_path)
    only_route = {"routes": [{"path": "/", "repositories": "repositories"}]}
    defaults = Config.model_validate(only_route, context=tmp_path)
    for name, field in Config.model_fields.items():
        if has_default(field) and name not in SECTIONS:
            assert getattr(whole, name) == getattr(defaults, name), name
    for model, part in sections_of(WHOLE):
        if model is not Config:
            for name, field in model.model_fields.items():
                assert not has_default(field) or part[name] == field.default, name


def test_what_has_a_default_is_shown_and_what_has_none_is_commented_out() -> None:
    shown = dict(sections_of(SHOWN))
    for name, field in Config.model_fields.items():
        assert (name in SHOWN) == (has_default(field) or field.is_required()), name
    for model in (TokenLifetimes, Limits, AuditKeeping):
        assert set(shown[model]) == set(model.model_fields)
    assert set(shown[SignIn]) == {"passwords"}
    assert set(shown[RouteConfig]) == {"path", "repositories", "dumb_protocol"}


def test_each_key_has_its_explanation_beside_or_above_it() -> None:
    lines = TEXT.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if re.match(r"#?(  )*(- )?[a-z_]+:", line):
            assert re.search(r"  # \S", line) or re.match(r"# \S", before), line


def test_the_example_loads_as_it_is(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "config.yaml")
    (tmp_path / "repositories").mkdir()
    config = load(tmp_path / "config.yaml")
    assert [route.path for route in config.routes] == ["/"]


def test_the_rules_of_the_guide_load_as_they_are(tmp_path: Path) -> None:
    guide = EXAMPLE.with_name("docs") / "access.md"
    [block] = re.findall(r"```yaml\n(.*?)```", guide.read_text(), re.DOTALL)
    (tmp_path / "access.yaml").write_text(block)
    rules = load_access(tmp_path / "access.yaml")
    assert [rule.place for rule in rules.of_account("svc-ci")] == ["access.yaml:9"]
