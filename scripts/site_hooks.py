"""Hooks of MkDocs: links that leave docs/ lead to pages of the site too.

README.md, CONTRIBUTING.md and CHANGELOG.md become pages. Any other file that a page links to is shown under
source/.
"""

import os.path
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = PurePosixPath("docs")
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "README.md": "readme.md"}
"""File of the checkout → its page."""
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
HEAD = "---\ntitle: {path}\nsearch: {{exclude: true}}\n---\n# {path}\n\n"


def origin_of(uri: str) -> PurePosixPath:
    """The file of the checkout that a page is made of."""
    for path, page in PAGES.items():
        if page == uri:
            return PurePosixPath(path)
    return DOCS / uri


def target_of(origin: PurePosixPath, link: str) -> PurePosixPath | None:
    """The file or folder of the checkout that a link of a page leads to; None: it is none of ours."""
    path = PurePosixPath(os.path.normpath(origin.parent / link))
    return path if "://" not in link and (ROOT / path).exists() else None


def page_of(path: PurePosixPath) -> str:
    """The page of the site that shows a file or folder."""
    if path.is_relative_to(DOCS):
        return str(path.relative_to(DOCS))
    return PAGES.get(str(path), f"source/{path}.md")


def links_of(origin: PurePosixPath) -> Iterator[PurePosixPath]:
    """What the links of a page lead to, outside of docs/."""
    for link in LINK.finditer((ROOT / origin).read_text()):
        path = target_of(origin, link[2])
        if path and not path.is_relative_to(DOCS):
            yield path


def shown(path: PurePosixPath) -> str:
    """The page for a file, or for a folder with the files in it."""
    file, head = ROOT / path, HEAD.format(path=path)
    if file.is_dir():
        return head + "".join(f"* [{inside.name}]({path.name}/{inside.name}.md)\n" for inside in within(path))
    language = {"yml": "yaml", "sh": "bash"}.get(file.suffix[1:], file.suffix[1:] or "text")
    return f"{head}~~~~~~{language}\n{file.read_text()}\n~~~~~~\n"


def within(folder: PurePosixPath) -> list[PurePosixPath]:
    """The files of a folder that are text."""
    return [folder / file.name for file in sorted((ROOT / folder).iterdir()) if file.is_file()]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside of docs/, and what any page links to there."""
    origins = [origin_of(file.src_uri) for file in files.documentation_pages()]
    origins += [PurePosixPath(path) for path in PAGES]
    paths = {path for origin in origins for path in links_of(origin)}
    paths |= {file for path in paths if (ROOT / path).is_dir() for file in within(path)}
    for path, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text()))
    for path in sorted(paths - {PurePosixPath(path) for path in PAGES}):
        files.append(File.generated(config, page_of(path), content=shown(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn the links that leave docs/ into links to these pages."""
    uri = page.file.src_uri
    if uri.startswith("source/"):
        return markdown
    origin = origin_of(uri)

    def moved(link: re.Match[str]) -> str:
        path = target_of(origin, link[2])
        if path is None or (path.is_relative_to(DOCS) and origin.is_relative_to(DOCS)):
            return link[0]
        there = os.path.relpath(page_of(path), PurePosixPath(uri).parent)
        return f"{link[1]}{there}{link[3] or ''}{link[4]}"

    return LINK.sub(moved, markdown)
