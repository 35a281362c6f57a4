"""Runs the demo. Draws what it prints as docs/pictures/demo.svg, and writes the lines that README.md shows.

.venv/bin/python scripts/pictures.py          # about a minute
"""

import subprocess
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
EVERY = 6
"""Of the lines that tell how far it is, one in so many is shown."""
WIDTH, LINE, EDGE = 7.3, 17, 16
"""Of a character, of a line, around it all: pixels."""
STYLE = (
    "text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#d7dcec;white-space:pre}.typed{fill:#9ece6a}"
)


def chosen(printed: str) -> Iterator[str]:
    """The lines to show: how it begins, how far it gets, the table of requests, and how it ends."""
    lines = printed.splitlines()
    told = [line for line in lines if line.startswith("[")]
    progress = [line for line in told if "counted in" in line]
    yield from ("$ make demo", *told[:3], *progress[EVERY::EVERY], "")
    begin = next(number for number, line in enumerate(lines) if line.startswith("$ kubectl get"))
    for line in lines[begin:]:
        yield line
        if not line.strip():
            break
    yield next(line for line in told if "nothing lost" in line)


def with_lines_of(readme: str, printed: str) -> str:
    """README.md with the same lines of this run: those of the same requests, the head and the end."""
    start = readme.index("$ make demo\n")
    end = readme.index("```", start)
    new = list(chosen(printed))

    def line_now(line: str) -> str:
        if not line.startswith(("[", "NAMESPACE")) and "storm-" not in line:
            return line
        key = "nothing lost" if line.startswith("[") else line.split()[1]
        return next(one for one in new if key in one)

    lines = map(line_now, readme[start:end].splitlines())
    return readme[:start] + "".join(f"{line}\n" for line in lines) + readme[end:]


def kind_of(line: str) -> str:
    """How a line is drawn."""
    return "typed" if line.startswith("$ ") else "told"


def terminal(lines: list[str]) -> str:
    """A terminal with these lines, as SVG."""
    width = 2 * EDGE + max(map(len, lines)) * WIDTH
    height = 2 * EDGE + len(lines) * LINE
    rows = [
        f'<text x="{EDGE}" y="{EDGE + number * LINE - 5}" class="{kind_of(line)}">{escape(line)}</text>'
        for number, line in enumerate(lines, 1)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img">\n<title>make demo</title>\n<style>{STYLE}</style>\n'
        '<rect width="100%" height="100%" rx="8" fill="#1a1b26"/>\n' + "\n".join(rows) + "\n</svg>\n"
    )


def main() -> int:
    """Run the demo, draw it and write its lines; gives its exit code."""
    command = [sys.executable, "-m", "lab.demo"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == 0:
        (ROOT / "docs" / "pictures" / "demo.svg").write_text(terminal(list(chosen(done.stdout))))
        readme = ROOT / "README.md"
        readme.write_text(with_lines_of(readme.read_text(), done.stdout))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
