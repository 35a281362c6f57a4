"""The files of the webhook: its shared secret and its certificate."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from tests.harness.eventually import eventually
from tests.harness.served_webhook import GOOD, OPTIONS, SECRET, Served, connected, served

from stormfold.kube.reviews import Caller
from stormfold.sources.alerts import webhook
from stormfold.sources.alerts.heads import PATH


async def test_shared_secret_speaks_for_all_and_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    async with served(replace(OPTIONS, secret_file=str(file)), authorizer=Nobody()) as it:
        assert (await it.post(GOOD, Authorization=f"Bearer {SECRET}")).code == 200
        assert (await it.post(GOOD, Authorization=f"Bearer {SECRET}x")).code == 401
        file.write_text("another-secret-of-it")
        it.webhook.reload()
        assert (await it.post(GOOD, Authorization=f"Bearer {SECRET}")).code == 401
        assert (await it.post(GOOD, Authorization="Bearer another-secret-of-it")).code == 200
        for bad in (lambda: file.write_text("short"), file.unlink):
            bad()
            it.webhook.reload()
            assert (await it.post(GOOD, Authorization="Bearer another-secret-of-it")).code == 200
        file.write_text(SECRET)
        it.webhook.reload()
        assert (await it.post(GOOD, Authorization=f"Bearer {SECRET}")).code == 200


class Nobody:
    """Knows no token."""

    async def caller(self, token: str) -> Caller | None:
        return None

    async def may_post(self, caller: Caller, namespace: str) -> bool:
        raise AssertionError("there is no caller")


@pytest.mark.parametrize("text", [None, "", "fifteen-charact"], ids=["missing", "empty", "short"])
async def test_secret_that_is_none_ends_the_start(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "secret").write_text(text)
    with pytest.raises(OSError, match="STORMFOLD_WEBHOOK_SECRET_FILE"):
        async with served(replace(OPTIONS, secret_file=str(tmp_path / "secret"))):
            pass


async def test_port_that_is_taken_ends_the_start() -> None:
    async with served() as it:
        with pytest.raises(OSError, match="set STORMFOLD_WEBHOOK_HOST and STORMFOLD_WEBHOOK_PORT"):
            async with served(replace(OPTIONS, port=it.webhook.port)):
                pass


def make_certificate(folder: Path, name: str) -> None:
    """A self-signed pair for this name, `tls.crt` and `tls.key`."""
    pair = ("-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt"))
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    command = ("openssl", "req", "-x509", *kind, "-days", "1", "-subj", f"/CN={name}", *pair)
    subprocess.run(command, check=True, stderr=subprocess.PIPE)


async def served_name(it: Served) -> bytes:
    """The subject's name in the certificate that is served, as its DER holds it."""
    trust = ssl.create_default_context()
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    async with connected(it, ssl=trust) as (_, writer):
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return next(name for name in (b"first.example", b"second.example") if name in certificate)


async def test_certificate_is_served_and_read_again(tmp_path: Path) -> None:
    make_certificate(tmp_path, "first.example")
    files = {"tls_cert_file": str(tmp_path / "tls.crt"), "tls_key_file": str(tmp_path / "tls.key")}
    async with served(replace(OPTIONS, **files)) as it:  # type: ignore[arg-type]
        assert await served_name(it) == b"first.example"
        kept = (tmp_path / "tls.key").read_bytes()
        make_certificate(tmp_path, "second.example")
        new = (tmp_path / "tls.key").read_bytes()
        (tmp_path / "tls.key").write_bytes(kept)
        it.webhook.reload()
        assert await served_name(it) == b"first.example"
        (tmp_path / "tls.key").write_bytes(new)
        it.webhook.reload()
        assert await served_name(it) == b"second.example"
        trust = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
        url = f"https://127.0.0.1:{it.webhook.port}{PATH}"
        headers = {"Content-Type": "application/json", "Authorization": "Bearer team"}
        async with it.session.post(
            url, data=GOOD, headers=headers, ssl=trust, server_hostname="second.example"
        ) as answer:
            assert answer.status == 200


async def test_files_are_looked_at_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "RELOAD_SECONDS", 0.05)
    file = tmp_path / "secret"
    file.write_text(SECRET)
    async with served(replace(OPTIONS, secret_file=str(file)), authorizer=Nobody()) as it:
        looking = asyncio.create_task(it.webhook.run())
        file.write_text("another-secret-of-it")
        await eventually(
            lambda: it.post(GOOD, Authorization="Bearer another-secret-of-it"),
            lambda found: found.code == 200,
        )
        looking.cancel()


async def test_pair_that_does_not_fit_ends_the_start(tmp_path: Path) -> None:
    make_certificate(tmp_path, "first.example")
    (tmp_path / "kept").write_bytes((tmp_path / "tls.crt").read_bytes())
    make_certificate(tmp_path, "second.example")
    files = {"tls_cert_file": str(tmp_path / "kept"), "tls_key_file": str(tmp_path / "tls.key")}
    with pytest.raises(OSError, match="STORMFOLD_WEBHOOK_TLS_CERT_FILE"):
        async with served(replace(OPTIONS, **files)):  # type: ignore[arg-type]
            pass


async def test_plain_http_to_a_tls_port_does_no_harm(tmp_path: Path) -> None:
    make_certificate(tmp_path, "first.example")
    files = {"tls_cert_file": str(tmp_path / "tls.crt"), "tls_key_file": str(tmp_path / "tls.key")}
    async with served(replace(OPTIONS, **files)) as it:  # type: ignore[arg-type]
        with pytest.raises(aiohttp.ClientError):
            await it.post(GOOD)
        assert await served_name(it) == b"first.example"
