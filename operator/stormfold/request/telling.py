"""What people read first of a request: its columns, and the sentence of its Events. Pure."""

from collections.abc import Sequence

from stormfold.api.remediationrequest import AffectedResource, Display, RemediationRequestSpec

WHAT_WIDTH, GROUP_WIDTH = 10, 9
"""Characters. With them a line of `kubectl get rreq` has at most 100, and the severity ends at the 79th."""


def display(spec: RemediationRequestSpec, namespace: str) -> Display:
    """What the columns say of a request that lies in `namespace`."""
    return Display(
        what=_cut(spec.name, WHAT_WIDTH), group=_cut(",".join(_values(spec, namespace)), GROUP_WIDTH)
    )


def _values(spec: RemediationRequestSpec, namespace: str) -> list[str]:
    """The values of the group that other columns do not have: not its name, and not the request's
    namespace."""
    shown = [item for item in spec.group if item.key != "name" and item.value != namespace]
    # Of an owner, Deployment/shop/checkout, the name.
    return [(item.value or "none").rpartition("/")[2] for item in shown]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}~"


def counted(
    spec: RemediationRequestSpec, *, signals: int, resources: int, listed: Sequence[AffectedResource]
) -> str:
    """What was counted, of what, under which policy: `PodNotReady ×14 on 14 pods (policy node-outage)`.

    `resources` are so many in all, `listed` those that are known by name.
    """
    kinds = {resource.kind.lower() for resource in listed} if len(listed) == resources else set()
    noun = kinds.pop() if len(kinds) == 1 else "resource"
    on = f" on {resources} {noun}{'' if resources == 1 else 's'}" if resources else ""
    if any(item.key == "name" for item in spec.group):
        what = f"{spec.name} ×{signals}"
    else:
        what = f"{spec.name} and others ×{signals}" if signals > 1 else f"{spec.name} ×1"
    return f"{what}{on} (policy {spec.policy_ref.name})"
