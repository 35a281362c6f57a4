"""What Redis must be able to do, found out at start and not by the first signal."""

import logging
from contextlib import suppress

from stormfold.fold import scripts
from stormfold.fold.connection import Connection
from stormfold.fold.errors import DENIED, RIGHTS, StoreConfigError, StoreFullError
from stormfold.fold.store import StormStore

log = logging.getLogger(__name__)

IDLE: tuple[tuple[scripts.Script, int, tuple[str | int, ...]], ...] = (
    (scripts.FOLD, 2, (0, "", 0)),
    (scripts.CLAIM, 1, (0, 0)),
    (scripts.ACK, scripts.ACK.keys, ("", 0, "", 0, 0, 0, 0, 0, 0, 0, 0)),
    (scripts.FREEZE, scripts.FREEZE.keys, (0, "", 0, "", 0)),
    (scripts.CLOSE, scripts.CLOSE.keys, ("", 0, "", "closed", 0, 0, "")),
)
"""Each script, and how many keys and which arguments let it do nothing."""
NEEDS = "stormfold needs Redis 7.0 or newer, or Valkey"


async def preflight(connection: Connection, store: StormStore) -> None:
    """Check the server, or each one of a Cluster; what may be missing is a warning.

    Raises:
        StoreUnavailableError: no answer, or not now.
        StoreFullError: no memory for a connection; scripts that are refused for it are known all the same.
        StoreConfigError: no wait helps; the message names the command or the feature.
    """
    warnings = await connection.check()
    numbers = await store.servers()
    missing: dict[str, str] = {}
    for number in numbers:
        try:
            missing |= await store.try_all(number)
        except StoreConfigError as exc:
            raise _refused(exc) from exc
    store.blind = "INFO" in missing
    if missing.pop("INFO", None) and not warnings:
        warnings = ["Redis does not let scripts run INFO: a fail-over shows only by what it has lost"]
    if missing:
        raise StoreConfigError(_lacks(missing))
    for number in numbers:
        for script, key_count, args in IDLE:
            with suppress(StoreFullError):
                await store.try_script(number, script, key_count, *args)
    for warning in warnings:
        log.warning(warning)


def _lacks(missing: dict[str, str]) -> str:
    denied = [name for name, why in missing.items() if DENIED.search(why)]
    others = [f"{name} ({why.removeprefix('ERR ')})" for name, why in missing.items() if name not in denied]
    if denied:
        return f"Redis does not let its user run {', '.join(denied)}: {RIGHTS}"
    return f"Redis lacks what scripts need, {', '.join(others)}: {NEEDS}"


def _refused(exc: StoreConfigError) -> StoreConfigError:
    """Of a server that runs none of our scripts: it cannot read their first line, or somebody may not run
    any."""
    if "ompil" in exc.words or "shebang" in exc.words:
        return StoreConfigError(
            f'Redis cannot read scripts that begin with "#!lua" ({exc.words}): {NEEDS}', words=exc.words
        )
    return exc
