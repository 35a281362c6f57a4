"""What the demo shows: the storms as a table that grows on a terminal, as a line a second elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lab.demo.storms import Manifest, Scenario, is_storm, total_of

BAR_WIDTH = 12
PHASE_STYLES = {"Open": "bold red", "Settled": "yellow", "Closed": "green"}


@dataclass(frozen=True)
class Picture:
    """The state of the story at one moment."""

    applied: int
    """Documents that kubectl was given so far."""
    requests: list[Manifest]

    @property
    def counted(self) -> int:
        """Signals that the requests have counted so far."""
        return sum(map(total_of, self.requests))


class View:
    """Everything the demo says, to stdout, or to stderr if stdout is kept for the JSON line."""

    def __init__(self, *, stderr: bool) -> None:
        self._console = Console(stderr=stderr, highlight=False, soft_wrap=True)
        self._started = time.monotonic()
        self._live: Live | None = None
        self._told = ""

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._started

    def say(self, line: str) -> None:
        """One line of what goes on, with the second of the demo in front."""
        self._console.print(Text(f"[{self.seconds:5.1f} s] {line}"))

    def command(self, line: str, output: str) -> None:
        """A command as one would type it, and what it printed."""
        self._console.print(Text(f"\n$ {line}", style="bold"))
        self._console.print(Text(output.rstrip("\n")))

    @contextmanager
    def live(self) -> Iterator[None]:
        """Within the block `show` draws the table in place, on a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False) as self._live:
            yield
        self._live = None

    def show(self, told: Scenario, picture: Picture) -> None:
        """Draw the storms as they are."""
        sent = f"{picture.applied} of {told.signals} signals given to kubectl apply"
        line = f"{sent}; {picture.counted} counted in {len(picture.requests)} requests"
        if self._live is not None:
            self._live.update(
                Group(_table(told, picture), Text(f"[{self.seconds:5.1f} s] {line}")), refresh=True
            )
        elif line != self._told:
            self._told = line
            self.say(line)


def _table(told: Scenario, picture: Picture) -> RenderableType:
    titles = {(e.namespace, e.group): e for e in told.expected}
    table = Table(title="RemediationRequests", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("namespace", no_wrap=True)
    table.add_column("what happened")
    table.add_column("phase", no_wrap=True)
    table.add_column("storm", no_wrap=True)
    table.add_column("signals", no_wrap=True, justify="right")
    table.add_column("", no_wrap=True, width=BAR_WIDTH)
    table.add_column("resources", no_wrap=True, justify="right")
    table.add_column("severity", no_wrap=True)
    largest = max((e.total for e in told.expected), default=1)
    for request in sorted(picture.requests, key=total_of, reverse=True):
        status = request.get("status", {})
        group = frozenset((v["key"], v.get("value", "")) for v in request["spec"].get("group", []))
        namespace = request["metadata"]["namespace"]
        expected = titles.get((namespace, group))
        phase = status.get("phase", "")
        table.add_row(
            namespace,
            expected.title if expected else request["spec"].get("name", ""),
            Text(phase, style=PHASE_STYLES.get(phase, "")),
            "yes" if is_storm(request) else "no",
            str(total_of(request)),
            ProgressBar(total=largest, completed=total_of(request), width=BAR_WIDTH),
            str(status.get("affectedResourceCount", 0)),
            status.get("severity", ""),
        )
    return table
