"""An Alertmanager that cannot be told ends nothing."""

from __future__ import annotations

import aiohttp
import pytest

from stormfold.notify.alertmanager import Alertmanager, NotToldError


@pytest.mark.parametrize("host", ["alertmanager..monitoring", "a" * 64, "alertmanager:99999"])
async def test_address_that_nobody_can_have_is_one_that_was_not_told(host: str) -> None:
    """Settings take it; the first storm must not end the operator."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(NotToldError):
            await Alertmanager(f"http://{host}").post(session, [{}])
