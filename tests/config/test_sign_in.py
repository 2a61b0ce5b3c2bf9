"""How people get to the pages: what the section `sign_in` takes, and each mistake with its line."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from gitpat_proxy.config.errors import ConfigError, Problem
from gitpat_proxy.config.loader import load
from gitpat_proxy.config.model import Config, HeaderSignIn, SignIn

ROUTES = "routes: [{path: /, upstream: 'http://host'}]\n"
ACCEPTED = {
    "sign_in": "passwords and header",
    "sign_in.passwords": "true or false",
    "sign_in.header": "name, from and create_accounts",
    "sign_in.header.name": "a header's name, as X-Forwarded-User",
    "sign_in.header.from": "a list of the networks of the single-sign-on proxy, as 10.0.0.0/8",
    "sign_in.header.create_accounts": "true or false",
}


def read(folder: Path, text: str) -> Config:
    file = folder / "config.yaml"
    file.write_text(ROUTES + text)
    return load(file)


def problems(folder: Path, text: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return caught.value.problems


def test_passwords_alone_are_the_default(tmp_path: Path) -> None:
    assert read(tmp_path, "").sign_in == SignIn(passwords=True, header=None)
    assert read(tmp_path, "sign_in: {}\n").sign_in == SignIn()


@pytest.mark.parametrize("passwords", [True, False])
def test_a_header_with_the_networks_of_who_sends_it(tmp_path: Path, passwords: bool) -> None:
    text = f"sign_in: {{passwords: {passwords}, header: {{from: [10.0.0.0/8, 'fd00::1/128']}}}}\n"
    found = read(tmp_path, text).sign_in
    assert found.passwords is passwords
    assert found.header
    assert found.header.name == "X-Forwarded-User"
    assert found.header.from_ == (ip_network("10.0.0.0/8"), ip_network("fd00::1/128"))
    assert found.header.create_accounts is False


def test_a_header_with_everything(tmp_path: Path) -> None:
    text = "sign_in: {header: {name: Remote-User, from: [192.0.2.1], create_accounts: true}}\n"
    header = read(tmp_path, text).sign_in.header
    assert header == HeaderSignIn.model_validate(
        {"name": "Remote-User", "from": ["192.0.2.1/32"], "create_accounts": True}
    )


@pytest.mark.parametrize(
    ("keys", "key", "line"),
    [
        *[(f"sign_in: {value}\n", "sign_in", 2) for value in ("", "true", "[]", "passwords")],
        *[
            (f"sign_in:\n  passwords: {value}\n", "sign_in.passwords", 3)
            for value in ("", "1", "'true'", "{}")
        ],
        *[(f"sign_in:\n  header: {value}\n", "sign_in.header", 3) for value in ("true", "[]", "X-User")],
        *[
            (
                f"sign_in:\n  header:\n    from: [10.0.0.0/8]\n    name: {value}\n",
                "sign_in.header.name",
                5,
            )
            for value in (
                *[
                    "''",
                    "5",
                    "'X User'",
                    "'X:User'",
                    "X_User",
                    "'X-User '",
                    '"X\\n"',
                    "Üser",
                    "[X-User]",
                ],
                *["Authorization", "authorization", "Cookie", "HOST"],
            )
        ],
        *[
            (f"sign_in:\n  header:\n    from: {value}\n", "sign_in.header.from", 4)
            for value in ("", "10.0.0.0/8", "{}")
        ],
        *[
            (
                f"sign_in:\n  header:\n    from: [{value}]\n    create_accounts: {create}\n",
                "sign_in.header.create_accounts",
                5,
            )
            for value, create in [("10.0.0.0/8", "1"), ("10.0.0.0/8", "''")]
        ],
    ],
)
def test_a_wrong_value_is_named_with_what_is_accepted(
    tmp_path: Path, keys: str, key: str, line: int
) -> None:
    [problem] = problems(tmp_path, keys)
    assert (problem.key, problem.line) == (key, line)
    assert problem.message.endswith(f"accepted: {ACCEPTED[key]}")


@pytest.mark.parametrize(
    "network", ["0.0.0.0/0", "'::/0'", "10.0.0.1/8", "host", "5", "'fe80::1%eth0/x'"]
)
def test_a_network_that_would_believe_everybody_or_is_none(tmp_path: Path, network: str) -> None:
    text = f"sign_in:\n  header:\n    from:\n    - 10.0.0.0/8\n    - {network}\n"
    [problem] = problems(tmp_path, text)
    assert (problem.key, problem.line) == ("sign_in.header.from[1]", 6)
    assert problem.message.endswith(f"accepted: {ACCEPTED['sign_in.header.from']}")


EMPTY = "an empty list believes nobody; name the networks of the single-sign-on proxy"
NOBODY = "nobody could sign in; set it to true, or set header"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sign_in:\n  header:\n    from: []\n", [("sign_in.header.from", 4, EMPTY)]),
        (
            "sign_in:\n  passwords: false\n  header: {name: X-User, from: []}\n",
            [("sign_in.header.from", 4, EMPTY)],
        ),
        ("sign_in:\n  passwords: false\n", [("sign_in.passwords", 3, NOBODY)]),
        ("sign_in: {passwords: false, header: null}\n", [("sign_in.passwords", 2, NOBODY)]),
        (
            "sign_in:\n  header:\n    name: X-User\n",
            [("sign_in.header.from", 3, "required and not there; accepted: a list of the networks")],
        ),
        (
            "sign_in:\n  header:\n    from: [10.0.0.0/8]\n    frm: x\n",
            [("sign_in.header.frm", 5, "unknown key; did you mean from? accepted here: ")],
        ),
        (
            "sign_in:\n  header:\n    from: [10.0.0.0/8]\n    from_: [10.0.0.0/8]\n",
            [("sign_in.header.from_", 5, "unknown key")],
        ),
        (
            "sign_in:\n  pasword: true\n",
            [
                (
                    "sign_in.pasword",
                    3,
                    "unknown key; did you mean passwords? accepted here: passwords, hea",
                )
            ],
        ),
        (
            "sign_in:\n  passwords: 5\n  header:\n    name: Host\n    from: ['::/0']\n",
            [
                ("sign_in.passwords", 3, ""),
                ("sign_in.header.name", 5, ""),
                ("sign_in.header.from[0]", 6, ""),
            ],
        ),
    ],
)
def test_every_mistake_is_named_with_its_line(
    tmp_path: Path, text: str, expected: list[tuple[str, int, str]]
) -> None:
    found = problems(tmp_path, text)
    assert [(problem.key, problem.line) for problem in found] == [(key, n) for key, n, _ in expected]
    for problem, (_, _, message) in zip(found, expected, strict=True):
        assert problem.message.startswith(message)
