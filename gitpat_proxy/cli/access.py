"""`gitpat-proxy access`: what accounts may do."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from gitpat_proxy.access.gitolite import Entry, Imported, imported
from gitpat_proxy.access.names import printable
from gitpat_proxy.cli.output import say

app = typer.Typer(no_args_is_help=True, help="What accounts may do.")


@app.command("import-gitolite")
def import_gitolite(
    file: Annotated[Path, typer.Argument(help="Gitolite's conf/gitolite.conf.", metavar="FILE")],
) -> None:
    """Print what a configuration of gitolite's says as `groups` and `access`.

    It never gives more than gitolite does; what can't be carried over is named on standard error.
    """
    found = imported(file.read_text(encoding="utf-8", errors="replace"))
    for remark in found.unreadable or found.remarks:
        say(f"{file}:{remark.line}: {printable(remark.sentence)}")
    if found.unreadable:
        say("gitpat-proxy: nothing is imported: these lines could take away what others give")
        raise typer.Exit(1)
    document = document_of(found)
    print(yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=100), end="")


def document_of(found: Imported) -> dict[str, object]:
    """Return the file that `access_file` may name."""
    document: dict[str, object] = {}
    if found.groups:
        document["groups"] = {name: list(members) for name, members in found.groups.items()}
    document["access"] = [_entry(entry) for entry in found.entries]
    return document


def _entry(entry: Entry) -> dict[str, object]:
    keys = {"who": entry.who, "repositories": entry.repositories, "allow": entry.allow}
    given = keys if entry.refs is None else keys | {"refs": entry.refs}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}
