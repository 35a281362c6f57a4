"""Outputs in the docs: a run writes them, and they have the columns that the CRDs print."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripts import consoles

from stormfold.api.crd import crds

ROOT = Path(__file__).parents[3]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
GET = re.compile(r"kubectl get (\w+)(?! .*(?:-o|--output))")


def columns() -> dict[str, list[str]]:
    """Each name by which `kubectl get` knows a resource, and the columns that it prints."""
    found = {}
    for crd in crds().values():
        names, (version,) = crd["spec"]["names"], crd["spec"]["versions"]
        printed = [one for one in version["additionalPrinterColumns"] if not one.get("priority")]
        shown = ["NAME", *(one["name"].upper() for one in printed)]
        for name in (names["plural"], names["singular"], *names.get("shortNames", ())):
            found[name] = shown
    return found


def shown(page: Path) -> Iterator[tuple[str, list[str], bool]]:
    """Of each `kubectl get` on a page: the resource, the columns, and whether all namespaces are asked."""
    for kind, block in consoles.BLOCK.findall(page.read_text()):
        for typed in consoles.commands(block) if kind == "console" else ():
            command = " ".join(typed.command)
            found = GET.search(command)
            if found and typed.output and found[1] in columns():
                yield found[1], re.split(r"\s{2,}", typed.output[0].strip()), " -A" in command


def test_tables_in_the_docs_have_the_columns_that_kubectl_prints() -> None:
    seen = [(page.name, *table) for page in PAGES for table in shown(page)]
    for page, resource, header, everywhere in seen:
        expected = [*(["NAMESPACE"] if everywhere else []), *columns()[resource]]
        assert header == expected, (page, resource)
    assert {page for page, *_ in seen} >= {"README.md", "tutorial.md", "gates.md"}


@pytest.mark.parametrize("part", consoles.PARTS, ids=lambda part: part.page)
def test_part_that_is_run_is_there_and_has_commands(part: consoles.Part) -> None:
    text = (ROOT / part.page).read_text()
    begin, end = (text.index(f"{heading}\n") for heading in (part.begin, part.end))
    blocks = consoles.BLOCK.findall(text[begin:end])
    assert any(consoles.commands(block) for kind, block in blocks if kind == "console")


def test_commands_are_run_in_order_and_their_outputs_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consoles, "LOOKS_SECONDS", 0.0)
    page = "## A\n```console\n$ echo before\nbefore\n```\n## B\n```sh\necho kept > $FILE\n```\n"
    page += "```console\n$ cat \\\n    $FILE\nold\n$ seq 5\n1\n…\n5\n$ true\ngone\n```\n## C\n"
    part = consoles.Part("page.md", "## B", "## C", before=("echo first > $FILE.first",))
    file = tmp_path / "file"
    environment = {"FILE": str(file), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    assert consoles.played(page, part, environment) == page.replace("old", "kept").replace("gone\n", "")
    assert (tmp_path / "file.first").read_text() == "first\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["1"], ["1", "2", "3", "4"]),
        (["1", "…"], ["1", "…"]),
        (["…", "9"], ["…", "4"]),
        (["a", "…", "b", "c"], ["1", "…", "3", "4"]),
    ],
)
def test_output_is_as_short_as_it_was(old: list[str], new: list[str]) -> None:
    assert consoles.shortened(["1", "2", "3", "4"], old) == new
