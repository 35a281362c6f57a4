"""What the intakes of Signals and of Events share: a change taken apart, and whether an object was edited."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from stormfold.kube.changes import Change, Changed, Deleted, Listed, Reached, T
from stormfold.sources.progress import Progress


async def apply_change(
    change: Change[T],
    progress: Progress,
    *,
    take: Callable[[T], Awaitable[None]],
    forget: Callable[[str], None],
) -> None:
    """Take in each item of a change, forget each uid that is gone, then let the progress reach what was
    seen."""
    match change:
        case Listed():
            version = change.resource_version
            for uid in change.gone:
                forget(uid)
            async for item in change.each():
                await take(item)
                progress.reach(item.resource_version)
            progress.begun()
        case Changed(item):
            await take(item)
            version = item.resource_version
        case Deleted(uid, version):
            forget(uid)
        case Reached(version):
            pass
    progress.reach(version)


def edited(metadata: Mapping[str, Any]) -> bool:
    """Whether managedFields tell of a write after the creation; who strips them may have hidden one."""
    entries = metadata.get("managedFields") or []
    return len(entries) != 1 or entries[0].get("time") != metadata["creationTimestamp"]
