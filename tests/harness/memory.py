"""What a process may have of memory, and what it had at most."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")


class MemoryLimit:
    """A cgroup whose processes may have so many bytes of memory, page cache included."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, pid: int) -> None:
        """Put a process into it; what it has already still counts where it came from."""
        (self._folder / "cgroup.procs").write_text(str(pid))


@contextmanager
def memory_limit(limit: int) -> Iterator[MemoryLimit | str]:
    """A cgroup with that limit, version 1 or 2; where none can be made, why not.

    Its processes must have ended at the end.
    """
    v1 = (V1 / "memory.limit_in_bytes").exists()
    folder = (V1 if v1 else V2) / f"stormfold-tests-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        yield f"no memory cgroup can be made: {error}"
        return
    try:
        (folder / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text(str(limit))
        made: MemoryLimit | str = MemoryLimit(folder)
    except OSError as error:
        made = f"a memory cgroup cannot be limited: {error}"
    try:
        yield made
    finally:
        folder.rmdir()


def peak_mb(pid: int) -> float:
    """The most resident memory that a process has had, from /proc."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
