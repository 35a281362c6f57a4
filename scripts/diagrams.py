"""Draws docs/diagrams/*.svg from the texts beside them. `#` begins a comment. The first line is the title.

graph TITLE            boxes on a grid, columns to the right and rows down
  box ID COLUMN ROW TITLE [| TEXT] [| strong]
  frame COLUMN ROW LAST-COLUMN LAST-ROW TITLE
  arrow FROM TO [both | above | below] [: | TEXT]   `above` and `below` lead round other boxes

sequence TITLE         lanes, and what one tells the other, in order
  lane ID TITLE
  FROM > TO TEXT
  note LANE TEXT
"""

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

BOX, CELL = (176, 52), (232, 82)
LANE, STEP = 210, 40
EDGE = 24
INSET = 40
"""How far from the middle of its boxes an arrow begins and ends that leads round others."""
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2430;text-anchor:middle}"
    ".title{font-weight:600}.small{font-size:12px;fill:#4a5264}.left{text-anchor:start}"
    ".box{fill:#fff;stroke:#5865a8;stroke-width:1.4}.strong{fill:#e4e8ff;stroke:#3949ab;stroke-width:2}"
    ".frame{fill:#eef0f8;stroke:#c3c9e2}.line{fill:none;stroke:#4a5264;stroke-width:1.4}"
    ".life{stroke:#c3c9e2;stroke-dasharray:4 4}.note{fill:#fff1d6;stroke:#d89a2b}"
)
HEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#4a5264"/></marker>'
)


@dataclass(frozen=True, slots=True)
class Box:
    """A box by its middle, in pixels."""

    x: float
    y: float

    @classmethod
    def at(cls, column: float, row: float) -> "Box":
        """The box in a cell of the grid."""
        return cls(EDGE + BOX[0] / 2 + column * CELL[0], EDGE + BOX[1] / 2 + row * CELL[1])


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Words around a point."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words)}</text>'


def rectangle(x: float, y: float, size: tuple[float, float], kind: str) -> str:
    """A rectangle by its middle."""
    width, height = size
    return (
        f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" height="{height:g}" rx="6" '
        f'class="{kind}"/>'
    )


def line(path: str, *, both: bool = False) -> str:
    """An arrow along a path."""
    start = ' marker-start="url(#head)"' if both else ""
    return f'<path d="{path}" class="line" marker-end="url(#head)"{start}/>'


def picture(title: str, width: float, height: float, parts: list[str]) -> str:
    """The whole file."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n'
        f'<defs>{HEAD}</defs>\n<rect width="100%" height="100%" rx="8" fill="#fafbff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def arrow(start: Box, end: Box, how: str, words: str) -> list[str]:
    """An arrow between two boxes, with its words beside it."""
    half_width, half_height = BOX[0] / 2, BOX[1] / 2
    if how in {"above", "below"}:
        side = -1 if how == "above" else 1
        y, bend = start.y + side * half_height, start.y + side * (half_height + 46)
        inset = INSET if end.x > start.x else -INSET
        x1, x2 = start.x + inset, end.x - inset
        path = f"M{x1:g} {y:g}C{x1:g} {bend:g} {x2:g} {bend:g} {x2:g} {y:g}"
        beside = start.y + side * (half_height + 48) + (4 if side > 0 else 2)
        return [line(path), text((start.x + end.x) / 2, beside, words, "small")]
    across, down = end.x - start.x, end.y - start.y
    if across == 0:
        one, other = half_height, -half_height
        ends = (start.x, start.y + one, end.x, end.y + other)
        if down < 0:
            ends = (start.x, start.y - half_height, end.x, end.y + half_height)
    else:
        side = half_width if across > 0 else -half_width
        ends = (start.x + side, start.y, end.x - side, end.y)
    x1, y1, x2, y2 = ends
    parts = [line(f"M{x1:g} {y1:g}L{x2:g} {y2:g}", both=how == "both")]
    if words and across == 0:
        parts.append(text(x1 + 8, (y1 + y2) / 2 + 4, words, "small left"))
    elif words:
        parts.append(text((x1 + x2) / 2, min(start.y, end.y) - half_height - 6, words, "small"))
    return parts


def graph(title: str, lines: list[str]) -> str:
    """Boxes and arrows."""
    boxes, under, over = dict[str, Box](), list[str](), list[str]()
    for said in lines:
        word, _, rest = said.partition(" ")
        if word == "frame":
            left, top, right, bottom, name = rest.split(maxsplit=4)
            first, last = Box.at(float(left), float(top)), Box.at(float(right), float(bottom))
            middle = ((first.x + last.x) / 2, (first.y + last.y) / 2)
            size = (last.x - first.x + BOX[0] + 28, last.y - first.y + BOX[1] + 16)
            under += [rectangle(*middle, size, "frame"), text(middle[0], first.y - 8, name, "title")]
        elif word == "box":
            name, column, row, words = rest.split(maxsplit=3)
            head, *more = [part.strip() for part in words.split("|")]
            kind = "strong" if "strong" in more else ""
            small = next((part for part in more if part != "strong"), "")
            box = boxes[name] = Box.at(float(column), float(row))
            over += [rectangle(box.x, box.y, BOX, f"box {kind}".strip())]
            over += [text(box.x, box.y + (-4 if small else 5), head, "title")]
            over += [text(box.x, box.y + 15, small, "small")] if small else []
        else:
            start, end, how, words = re.fullmatch(
                r"arrow (\S+) (\S+)(?: (both|above|below))?(?: :)?(?: (.+))?", said
            ).groups(default="")  # type: ignore[union-attr]
            over += arrow(boxes[start], boxes[end], how, words)
    width = max(box.x for box in boxes.values()) + BOX[0] / 2 + EDGE
    height = max(box.y for box in boxes.values()) + BOX[1] / 2 + EDGE
    return picture(title, width, height, under + over)


def sequence(title: str, lines: list[str]) -> str:
    """Lanes, and what goes between them."""
    lanes = [said.split(maxsplit=2)[1:] for said in lines if said.startswith("lane ")]
    place = {name: EDGE + LANE / 2 + number * LANE for number, (name, _) in enumerate(lanes)}
    steps = [said for said in lines if not said.startswith("lane ")]
    height = EDGE * 2 + 40 + STEP * (len(steps) + 1)
    parts = [f'<path d="M{x:g} 60V{height - EDGE:g}" class="line life"/>' for x in place.values()]
    for name, words in lanes:
        parts += [rectangle(place[name], 44, (150, 36), "box"), text(place[name], 49, words, "title")]
    for number, said in enumerate(steps, 1):
        y = 62 + number * STEP
        if said.startswith("note "):
            _, name, words = said.split(maxsplit=2)
            parts += [rectangle(place[name], y, (190, 28), "note"), text(place[name], y + 5, words, "title")]
            continue
        start, _, end, words = said.split(maxsplit=3)
        parts += [line(f"M{place[start]:g} {y:g}H{place[end]:g}")]
        parts += [text((place[start] + place[end]) / 2, y - 6, words, "small")]
    return picture(title, 2 * EDGE + LANE * len(lanes), height, parts)


def drawn(source: str) -> str:
    """The picture that a text describes, as SVG."""
    lines = [said.strip() for said in source.splitlines() if said.strip() and not said.startswith("#")]
    kind, title = lines[0].split(maxsplit=1)
    return {"graph": graph, "sequence": sequence}[kind](title, lines[1:])


def diagrams(folder: Path) -> dict[Path, str]:
    """Each file of pictures with what it is to hold."""
    return {path.with_suffix(".svg"): drawn(path.read_text()) for path in sorted(folder.glob("*.txt"))}
