"""Report: the table at the end, and the history of a storm that is not as it must be."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from tests.chaos.accounting import Accounting
from tests.chaos.ledger import Account, Entry
from tests.harness.verdicts import Judgement

SHOWN_STORMS = 3
"""Of a seed that failed; the folder that is named has the rest."""


@dataclass(frozen=True)
class Result:
    """What one seed came to."""

    seed: int
    faults: Counter[str]
    accounts: Sequence[Account]
    problems: Sequence[str]
    """What is wrong and belongs to no group."""
    worst_delay: float
    seconds: float
    copies: int = 0
    edits: int = 0
    clock_offset: float = 0.0
    posts_refused: Counter[int] = field(default_factory=Counter)
    ended: Sequence[str] = ()
    """What operators logged last that ended by themselves."""
    folder: Path | None = None
    waiting: int = 0
    """Signals that wait for a request at the end, since their policy has as many open storms as it may."""
    held: int = 0
    """Others that are taken in, and that no request holds yet."""
    most_waiting: int = 0
    """The most groups that were seen to wait at once."""
    most_open: int = 0
    """The most open storms that were seen at once of the policy that may have two."""
    verdicts: Judgement = field(default_factory=Judgement)
    """What an observer of gates and requests has seen."""
    gates: int = 0
    """How often a gate was made, changed or deleted."""
    written: Counter[str] = field(default_factory=Counter)
    """Answers to what consumers wrote."""

    @property
    def wrong(self) -> bool:
        """Whether anything is not as it must be."""
        return bool(self.problems) or any(account.wrong for account in self.accounts)

    def total(self, figure: str) -> int:
        """The sum of a figure over all groups."""
        return sum(getattr(account, figure) for account in self.accounts)

    @property
    def line(self) -> str:
        """One line while further seeds run."""
        clock = f", a clock {self.clock_offset:+.0f} s" if self.clock_offset else ""
        return (
            f"seed {self.seed}: {'NOT AS IT MUST BE' if self.wrong else 'ok'} in {self.seconds:.0f} s: "
            f"{self.total('sent')} signals, {self.total('counted')} counted, {self.total('discarded')} "
            f"discarded, {self.total('pending')} pending, "
            f"{self.total('lost')} lost, {self.total('twice')} twice, "
            f"{self.total('unlisted')} again of alerts that no request lists, "
            f"{self.total('edited')} by a known edge while nobody led; {self.total('requests')} requests of "
            f"{self.total('storms')} storms; {self.waiting} waiting, {self.held} held, at most "
            f"{self.most_waiting} groups waiting and {self.most_open} open of 2; "
            f"{self.faults.total()} faults{clock}; worst delay {self.worst_delay:.1f} s; {self.gates} gates, "
            f"{self.verdicts.begun} begun, {self.written['refused']} refused, Proceed against a check "
            f"{self.verdicts.against} times for {self.verdicts.longest:.2f} s at most"
        )


def show(results: Sequence[Result], console: Console) -> None:
    """The table over all seeds."""
    table = Table(box=SIMPLE_HEAD, title=f"chaos, {len(results)} seeds", title_justify="left")
    table.add_column("")
    table.add_column("number", justify="right")
    faults = sum((result.faults for result in results), Counter[str]())
    for kind, number in sorted(faults.items()):
        table.add_row(f"fault: {kind}", f"{number:,}")
    clocks = sum(1 for result in results if result.clock_offset)
    table.add_row("fault: clock wrong in one operator", f"{clocks:,}")
    table.add_row("fault: alerts sent again, in another order", f"{sum(r.copies for r in results):,}")
    table.add_row("fault: Signals edited", f"{sum(r.edits for r in results):,}", end_section=True)

    def total(figure: str) -> int:
        return sum(result.total(figure) for result in results)

    refused = sum((result.posts_refused for result in results), Counter[int]())
    ended = sum(len(result.ended) for result in results)
    storms = total("storms")
    rows = (
        ("posts that were not answered by 200", f"{refused.total():,}"),
        ("operators that ended by themselves", f"{ended:,}"),
        ("signals accepted", f"{total('sent'):,}"),
        ("counted", f"{total('counted'):,}"),
        ("discarded, as their status says", f"{total('discarded'):,}"),
        ("pending, and known to nobody any more", f"{total('pending'):,}"),
        ("waiting at the end", f"{sum(r.waiting for r in results):,}"),
        ("held by operators at the end", f"{sum(r.held for r in results):,}"),
        ("groups that waited at once, at most", f"{max((r.most_waiting for r in results), default=0):,}"),
        ("open storms at openStorms: 2, at most", f"{max((r.most_open for r in results), default=0):,}"),
        (
            "counted again for an edit while nobody led (known edge)",
            f"{total('edited'):,}",
        ),
        ("counted again of alerts that no request lists", f"{total('unlisted'):,}"),
        ("counted twice", f"{total('twice'):,}"),
        ("lost", f"{total('lost'):,}"),
        ("storms", f"{storms:,}"),
        ("requests per storm", f"{total('requests') / storms:.3f}" if storms else "–"),
        ("other things wrong", f"{sum(_others(result) for result in results):,}"),
        ("gates made, changed or deleted", f"{sum(r.gates for r in results):,}"),
        ("consumers began", f"{sum(r.verdicts.begun for r in results):,}"),
        ("writes of consumers taken", f"{sum(r.written['taken'] for r in results):,}"),
        ("refused, by a gate or a verdict", f"{sum(r.written['refused'] for r in results):,}"),
        ("requests that said Proceed against a check", f"{sum(r.verdicts.against for r in results):,}"),
        ("the longest of them", f"{max((r.verdicts.longest for r in results), default=0):.2f} s"),
        ("worst delay", f"{max((r.worst_delay for r in results), default=0):.1f} s"),
        ("seeds not as they must be", f"{sum(result.wrong for result in results):,}"),
        ("longest seed", f"{max((r.seconds for r in results), default=0):.0f} s"),
    )
    for name, figure in rows:
        table.add_row(name, figure)
    console.print(table)


def _others(result: Result) -> int:
    return len(result.problems) + sum(len(account.problems) for account in result.accounts)


def logged(logs: Iterable[Path], group_hash: str, began: float) -> Iterator[Entry]:
    """What operators logged of a group; `began` is the beginning in Unix seconds."""
    for number, log in enumerate(logs):
        for line in log.read_text(errors="replace").splitlines():
            if group_hash and group_hash in line:
                with contextlib.suppress(ValueError):
                    said = json.loads(line)
                    moment = datetime.strptime(said["time"], "%Y-%m-%d %H:%M:%S,%f").astimezone()
                    rest = {
                        k: v
                        for k, v in said.items()
                        if k not in {"time", "level", "logger", "message", "groupHash"}
                    }
                    yield Entry(moment.timestamp() - began, f"operator {number}: {said['message']} {rest}")


def tell(
    result: Result, accounting: Accounting, logs: Sequence[Path], began: float, console: Console
) -> None:
    """What is wrong, and the history of the storms that are."""
    for problem in result.problems:
        console.print(f"seed {result.seed}: {problem}")
    if result.verdicts.wrong:
        for entry in sorted(accounting.faults, key=lambda entry: entry.at):
            console.print(f"  {entry.at:7.2f}  {entry.what}", soft_wrap=True, highlight=False, markup=False)
    wrong = [account for account in result.accounts if account.wrong]
    for account in wrong:
        console.print(f"seed {result.seed}: {account}", soft_wrap=True)
    for account in islice(wrong, SHOWN_STORMS):
        console.print(f"\nhistory of {account.group}, seed {result.seed}:", style="bold")
        ledger = accounting.ledgers[account.group]
        group_hash = next((name.split("-")[1] for name in ledger.requests), "")
        for entry in accounting.history(account.group, logged(logs, group_hash, began)):
            console.print(f"  {entry.at:7.2f}  {entry.what}", soft_wrap=True, highlight=False, markup=False)
        sent = Counter(one.pod for one in ledger.sent)
        counted: Counter[str] = Counter()
        for shown in ledger.requests.values():
            counted.update(shown.pods)
        for pod in sorted(sent | counted):
            if sent[pod] != counted[pod]:
                console.print(
                    f"  {pod}: sent {sent[pod]}, counted {counted[pod]}, discarded {ledger.discarded[pod]}"
                )
                ways = Counter(one.way.name for one in ledger.sent if one.pod == pod)
                for line in (f"sent as {dict(ways)}", *accounting.edits(account.group, pod)):
                    console.print(f"    {line}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"logs of the operators: {', '.join(map(str, logs))}", soft_wrap=True)
    console.print(f"again: make chaos SEED={result.seed}", style="bold")
