"""`gitpat-proxy token` with limits, and `token derive`."""

from tests.cli.program import Run, run
from tests.cli.test_token import LAPTOP, created
from tests.support.proxy import Proxy

LIMITS = [
    *["--repository", "team/**", "--repository", "!team/secret"],
    *["--ref", "refs/heads/main=update", "--ref", "refs/heads/agent/**=create,update,force,delete"],
    *["--uses", "3"],
]


def facts(found: Run) -> tuple[object, ...]:
    token = found.json
    return tuple(token[key] for key in ("repositories", "refs", "uses", "uses_left"))


def test_limits_are_set_replaced_and_taken_away(proxy: Proxy) -> None:
    created(run(proxy, *LAPTOP, *LIMITS))
    [token] = run(proxy, "token", "list", "--json").json
    show = ["token", "show", token["id"], "--json"]
    assert facts(run(proxy, *show)) == (
        ["team/**", "!team/secret"],
        ["refs/heads/main=update", "refs/heads/agent/**=create,update,force,delete"],
        3,
        3,
    )
    edit = ["token", "edit", token["id"], "--json"]
    assert facts(run(proxy, *edit, "--repository", "app", "--uses", "5"))[0::2] == (["app"], 5)
    free = ["--repository", "any", "--ref", "any", "--uses", "any"]
    assert facts(run(proxy, *edit, *free)) == (None, None, None, None)


def test_what_can_not_be_used(proxy: Proxy) -> None:
    for options, sentence in [
        (["--ref", "main"], "'main' is no full name of a ref; accepted: as refs/heads/main, or **"),
        (["--uses", "none"], "'none' is no number of uses; accepted: 1 to 999999999, or any"),
        (["--repository", "!x"], "nothing is included; include something, if need be all with **"),
    ]:
        assert run(proxy, *LAPTOP, *options).refusal == sentence


def test_a_token_is_derived_from_the_one_on_standard_input(proxy: Proxy) -> None:
    agent = created(run(proxy, *LAPTOP, "--scope", "tokens:delegate", *LIMITS))
    derive = ["token", "derive", "--name", "job", "--scope", "code:read"]
    job = created(run(proxy, *derive, "--uses", "1", stdin=f"{agent}\n"))
    shown = run(proxy, "token", "inspect", "--json", stdin=job).json
    [parent] = [t for t in run(proxy, "token", "list", "--json").json if t["name"] == "My Laptop"]
    assert (shown["parent"], shown["account"], shown["valid"]) == (parent["id"], "alice", True)
    assert (shown["repositories"], shown["uses_left"]) == (parent["repositories"], 1)
    table = run(proxy, "token", "list").out
    assert table.splitlines()[0].split()[-1] == "PARENT"
    assert parent["id"] in table.split(shown["id"])[1].splitlines()[0]

    assert run(proxy, *derive, stdin="gpat_x").refusal == "it is no token of this proxy"
    wider = run(proxy, *derive, "--repository", "other", stdin=agent).refusal
    assert wider == "the token that asks is limited to the repositories team/**, !team/secret"
    assert "does not have the scope tokens:delegate" in run(proxy, *derive, stdin=job).refusal
    run(proxy, "token", "revoke", parent["id"])
    ended = run(proxy, "token", "inspect", stdin=job)
    assert (ended.code, ended.err.split(" was ")[0]) == (
        1,
        f'gitpat-proxy: The token "My Laptop" ({parent["id"]})',
    )
