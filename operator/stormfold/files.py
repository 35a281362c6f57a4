"""What the file system says of files that others change while we run: certificates, tokens, secrets."""

from pathlib import Path

Signature = tuple[int, int, int]


def signature(path: Path) -> Signature | None:
    """Another value once the file is another one; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
