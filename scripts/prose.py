"""`make lint`, for what people read: long sentences, private words, and relative links that lead nowhere.
Pages, and the comments of manifests. Prints each as `file:line: message`; the exit code is 1 if there is one.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORDS_AT_MOST = 30
PRIVATE = {
    r"mend(s|ed|ing)?": "fix or resolve",
    r"whoever|whatever|whichever": "the name of who or what it is",
    r"gids?": "group hash",
    r"speaks? for": "may report on",
    r"held back": "deferred or throttled",
    r"the books": "checks that sent and counted agree",
    r"comes? to nothing|as ever|none of our business": "what happens",
    r"anew": "again",
}
"""Words of our own, as patterns, and what to write instead."""
FOLDERS = ("manifests", "chart", "examples")
"""Where files of YAML are that people read."""
LINK = re.compile(r"\[([^]]*)\]\(([^)\s]+)\)")
CODE = re.compile(r"(`+).+?\1")
BLOCK = re.compile(r"^(```|~~~).*?^\1|<!--.*?-->", re.MULTILINE | re.DOTALL)
BEGIN = re.compile(r"\s*([*+-] |\d+[.] |[|#>])")
END = re.compile(r"[.!?](?=[\s)*]|$)|[|]")


def without_code(text: str) -> str:
    """The text without blocks of code and comments, with as many lines. Of code in a line an x stays."""
    return CODE.sub("x", BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text))


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """The sentences and cells of a page, each with the number of its paragraph's first line."""
    first, lines = 1, list[str]()
    for number, line in enumerate([*without_code(text).splitlines(), ""], 1):
        if not line.strip() or BEGIN.match(line):
            for sentence in END.split(LINK.sub(r"\1", " ".join(lines))):
                yield first, sentence.strip()
            first, lines = number + (not line.strip()), []
        lines.append(line)


def wrong_words(text: str, at_most: int = WORDS_AT_MOST) -> Iterator[tuple[int, str]]:
    """Private words and long sentences of a page."""
    for number, sentence in sentences(text):
        for word, instead in PRIVATE.items():
            for found in re.finditer(rf"\b({word})\b", sentence, re.IGNORECASE):
                yield number, f'"{found[0]}": say {instead}'
        count = sum(re.search(r"\w", word) is not None for word in sentence.split())
        if count > at_most:
            yield number, f"a sentence has {count} words, {at_most} at most: {sentence[:60]}"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", LINK.sub(r"\1", heading).lower()).replace(" ", "-") for heading in headings
    }


def dead_links(page: Path) -> Iterator[tuple[int, str]]:
    """The relative links of a page that lead nowhere."""
    for number, line in enumerate(without_code(page.read_text()).splitlines(), 1):
        for _, target in LINK.findall(line):
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            if "://" in target:
                continue
            if not there.exists():
                yield number, f"{target} is not there"
            elif anchor and anchor not in anchors(there.read_text()):
                yield number, f"{target}: no such heading"


def comments(text: str) -> str:
    """The lines of a YAML file that are comments, without their marks; the others are empty."""
    found = (re.fullmatch(r"\s*#+ ?(.*)", line) for line in text.splitlines())
    return "\n".join(line[1] if line else "" for line in found)


def main() -> int:
    """Check all pages and manifests; gives the exit code. Records of decisions and the changelog may speak as
    they did."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    records = [ROOT / "CHANGELOG.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    found = [(page, *wrong) for page in [*pages, *records] for wrong in dead_links(page)]
    found += [(page, *wrong) for page in pages for wrong in wrong_words(page.read_text())]
    manifests = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.yaml"))]
    found += [(file, *wrong) for file in manifests for wrong in wrong_words(comments(file.read_text()))]
    for page, number, message in sorted(found):
        print(f"{page.relative_to(ROOT)}:{number}: {message}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
