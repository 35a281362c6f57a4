"""What people read first of a request: its columns, and the sentence of its Events. Pure."""

from collections.abc import Mapping

from stormfold.api.remediationrequest import Display, RemediationRequestSpec
from stormfold.model.evidence import NameCount, harmless
from stormfold.model.storm import Snapshot
from stormfold.request.deciding import plural

WHAT_WIDTH, GROUP_WIDTH = 10, 9
"""Characters. With them a line of `kubectl get rreq` has at most 100, and the severity ends at the 79th."""


SUMMARY_WIDTH = 256
"""Characters of a summary."""


def display(spec: RemediationRequestSpec, namespace: str) -> Display:
    """What the columns say of a request that lies in `namespace`."""
    return Display(
        what=_cut(harmless(spec.name), WHAT_WIDTH),
        group=_cut(harmless(",".join(_values(spec, namespace))), GROUP_WIDTH),
    )


def _values(spec: RemediationRequestSpec, namespace: str) -> list[str]:
    """The values of the group that other columns do not have: not its name, and not the request's
    namespace."""
    shown = [item for item in spec.group if item.key != "name" and item.value != namespace]
    # Of an owner, Deployment/shop/checkout, the name.
    return [(item.value or "none").rpartition("/")[2] for item in shown]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}~"


def summary(storm: Snapshot, names: Mapping[str, NameCount]) -> str:
    """What came, on what, in one line of at most `SUMMARY_WIDTH` characters:
    `177 signals on 174 pods: KubePodNotReady 120, KubePodCrashLooping 57`. Where nothing came, what still
    fires."""
    if storm.still_firing and not storm.total and not storm.firing:
        return "all alerts of the request before have resolved"
    if storm.still_firing and not storm.total:
        return f"{plural(storm.firing, 'alert')} of the request before still firing"
    said = plural(storm.total, "signal")
    if storm.affected:
        kinds = {target.kind.lower() for target, _ in storm.resources}
        noun = kinds.pop() if len(kinds) == 1 and not storm.truncated else "resource"
        said += f" on {'about ' if storm.truncated else ''}{plural(storm.affected, noun)}"
    if len(names) == 1:
        return _cut(f"{said}: {next(iter(names))}", SUMMARY_WIDTH)
    told = [f"{name} {of.signals}{'+' if of.others else ''}" for name, of in names.items()]
    for shown in range(len(told), 0, -1):
        more = ", others" if shown < len(told) or _is_short(storm, names) else ""
        text = f"{said}: {', '.join(told[:shown])}{more}"
        if len(text) <= SUMMARY_WIDTH:
            return text
    return said


def _is_short(storm: Snapshot, names: Mapping[str, NameCount]) -> bool:
    """Whether signals have names that are not among these."""
    return sum(of.signals for of in names.values()) < storm.total
