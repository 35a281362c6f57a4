"""Whether a built site keeps to itself: no page loads anything from elsewhere.

Prints each thing that one does. The exit code is 1 if there is any.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
"""Tag → the attribute by which it loads something."""
LOADING_LINKS = {
    "stylesheet",
    "preload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "icon",
    "manifest",
    "modulepreload",
}


class Loads(HTMLParser):
    """Collects what a page loads from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        rel = set((of.get("rel") or "").split())
        address = of.get("href") if tag == "link" and rel & LOADING_LINKS else of.get(LOADS.get(tag, ""))
        if address and address.startswith(("http://", "https://", "//")):
            self.found.append(address)


def main() -> int:
    """Look through all pages and stylesheets below the folder that the command line names."""
    site, found = Path(sys.argv[1]), list[str]()
    for page in sorted(site.rglob("*.html")):
        loads = Loads()
        loads.feed(page.read_text())
        found += [f"{page.relative_to(site)}: loads {address}" for address in loads.found]
    for sheet in sorted(site.rglob("*.css")):
        text = sheet.read_text()
        found += [
            f"{sheet.relative_to(site)}: {mark}" for mark in ("url(http", "url(//", "@import") if mark in text
        ]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
