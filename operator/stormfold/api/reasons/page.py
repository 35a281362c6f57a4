"""The page of reasons, `docs/reasons.md`."""

from stormfold.api.reason import Reason
from stormfold.api.reasons.consumers import ConsumerReason
from stormfold.api.reasons.gates import GateReason
from stormfold.api.reasons.requests import RequestReason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.reasons.specs import SpecReason
from stormfold.api.reasons.webhook import WebhookReason

SECTIONS = {
    "Policies and gates": (*SpecReason,),
    "Requests": (*RequestReason,),
    "What consumers report": (*ConsumerReason,),
    "Decisions": (*GateReason,),
    "Signals and alerts": (*SignalReason,),
    "Answers of the webhook": (*WebhookReason,),
}
"""Heading → the reasons below it."""
REASONS = tuple(reason for section in SECTIONS.values() for reason in section)
"""Every one; no two have the same value."""


def reasons_page() -> str:
    """Every reason, where it appears, and what it means; its anchor is the reason."""
    page = [
        "<!-- Generated from operator/stormfold/api/reasons/: change it there, then run `make generate`. -->",
        "# Reasons",
        "",
        "The `reason` of a condition, of an Event, of a Signal's status, and of an answer to Alertmanager.",
        "",
        "Messages link here: `reasons/#NoPolicyMatches` is the row of that reason.",
    ]
    for heading, section in SECTIONS.items():
        page += ["", f"## {heading}", "", "| reason | meaning |", "|---|---|"]
        page += [f"| {_named(reason)} | {reason.meaning} |" for reason in sorted(section)]
    return "\n".join([*page, ""])


def _named(reason: Reason) -> str:
    return f'<a id="{reason}"></a>**`{reason}`**<br>{reason.where.replace("; ", "<br>")}'
