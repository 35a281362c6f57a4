"""The site: links that leave docs/, what pages load, pictures, and the anchor of each reason."""

import re
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import pytest
import yaml
from scripts import diagrams, pictures, prose, site_check

from stormfold.api.reasons.page import REASONS
from stormfold.api.site import SITE, page, reason_page

ROOT = Path(__file__).parents[3]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<script src="https://cdn.example/x.js"></script>', ["https://cdn.example/x.js"]),
        ('<link rel="stylesheet" href="//fonts.example/css">', ["//fonts.example/css"]),
        ('<img src="http://example/x.png">', ["http://example/x.png"]),
        ('<link rel="canonical" href="https://stormfold.dev/"><a href="https://example">x</a>', []),
        ('<script src="../assets/x.js"></script><img src="x.svg">', []),
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found_and_links_are_not(html: str, found: list[str]) -> None:
    loads = site_check.Loads()
    loads.feed(html)
    assert loads.found == found


def test_each_reason_has_the_anchor_that_messages_link_to() -> None:
    text = (ROOT / "docs/reasons.md").read_text()
    for reason in REASONS:
        assert reason_page(reason) == f"{SITE}reasons/#{reason}"
        assert text.count(f'<a id="{reason}"></a>') == 1


def test_messages_and_the_site_agree_on_its_address() -> None:
    assert f"\nsite_url: {SITE}\n" in (ROOT / "mkdocs.yml").read_text()
    assert page("install", "uninstall") == f"{SITE}install/#uninstall"


def test_each_address_of_the_site_in_the_product_leads_to_a_page_and_a_heading() -> None:
    folders = (ROOT / name for name in ("operator", "manifests", "chart", "lab", "examples"))
    files = [
        file for folder in folders for file in folder.rglob("*") if file.suffix in {".py", ".yaml", ".json"}
    ]
    address = re.compile(rf"{re.escape(SITE)}([\w-]+)/(?:#([\w-]+))?")
    found = {link for file in files for link in address.findall(file.read_text())}
    assert {page for page, _ in found} >= {"install", "notify", "overload", "reasons", "runbooks"}
    for name, anchor in sorted(found):
        text = (ROOT / "docs" / f"{name}.md").read_text()
        assert not anchor or anchor in prose.anchors(text), (name, anchor)


def test_picture_has_every_box_and_every_word_of_its_text() -> None:
    drawn = ElementTree.fromstring(
        diagrams.drawn("# c\ngraph A & B\nbox a 0 0 One | small\nbox b 1 0 Two\narrow a b : goes\n")
    )
    assert [text.text for text in drawn.iter(f"{SVG}text")] == ["One", "small", "Two", "goes"]
    assert drawn.findtext(f"{SVG}title") == "A & B"
    assert len(list(drawn.iter(f"{SVG}rect"))) == 3


def test_sequence_has_a_line_for_each_lane_and_an_arrow_for_each_step() -> None:
    drawn = ElementTree.fromstring(
        diagrams.drawn("sequence S\nlane a A\nlane b B\na > b hello\nnote b thinks\nb > a bye\n")
    )
    lanes = [path for path in drawn.iter(f"{SVG}path") if path.get("class") == "line life"]
    arrows = [path for path in drawn.iter(f"{SVG}path") if path.get("marker-end")]
    assert (len(lanes), len(arrows)) == (2, 2)


def test_every_picture_is_shown_on_a_page() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    for picture in (ROOT / "docs/diagrams").glob("*.svg"):
        assert f"(diagrams/{picture.name})" in pages
        assert PurePosixPath(picture.name).with_suffix(".txt").name in {
            text.name for text in picture.parent.glob("*.txt")
        }


def test_each_alert_about_stormfold_links_to_its_section() -> None:
    rules = yaml.safe_load((ROOT / "manifests/components/monitoring/prometheusrule.yaml").read_text())
    sections = (ROOT / "docs/runbooks.md").read_text()
    for rule in (rule for group in rules["spec"]["groups"] for rule in group["rules"]):
        assert rule["annotations"]["runbook_url"] == page("runbooks", rule["alert"].lower())
        assert f"\n## {rule['alert']}\n" in sections


def test_picture_of_the_demo_has_its_begin_its_table_and_its_end() -> None:
    told = [f"[ {n}.0 s] {n} of 9 signals given; {n} counted in 1 requests" for n in range(1, 9)]
    begin, end = ("[ 0.1 s] up", "[ 0.2 s] applied", "[ 0.3 s] ready"), "[ 9.0 s] 9 signals: nothing lost"
    table = ("$ kubectl get remediationrequests -A", "NAME", "storm-1", "")
    printed = "\n".join((*begin, *told, "", *table, "$ kubectl describe", "Name: a", end, "[ 9.1 s] clean"))
    lines = list(pictures.chosen(printed))
    assert lines == ["$ make demo", *begin, told[6], "", *table, end]
    drawn = ElementTree.fromstring(pictures.terminal(lines))
    assert [text.text or "" for text in drawn.iter(f"{SVG}text")] == lines
    readme = "a\n$ make demo\n…\nNAME old\nstorm-0 x-storm-1 old\n[ 8.0 s] nothing lost\n```\nb"
    now = printed.replace("storm-1", "storm-0 x-storm-1 new").replace("NAME", "NAMESPACE NAME new")
    assert pictures.with_lines_of(readme.replace("NAME", "NAMESPACE NAME"), now) == (
        f"a\n$ make demo\n…\nNAMESPACE NAME new\nstorm-0 x-storm-1 new\n{end}\n```\nb"
    )
