"""Settings come from the environment or from flags; a wrong one is refused in a line that names it."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from stormfold.cli import run
from stormfold.settings import Settings, unknown_variables

DEFAULTS: dict[str, Any] = {
    "redis_url": "redis://127.0.0.1:6379/0",
    "namespace": "stormfold-system",
    "identity": f"{socket.gethostname()}-{os.getpid()}",
    "http_host": "",
    "http_port": 8080,
    "webhook_host": "",
    "webhook_port": 8090,
    "webhook_ack": "request",
    "webhook_wait_seconds": 8.0,
    "webhook_posts": 512,
    "webhook_audience": "",
    "webhook_secret_file": "",
    "webhook_tls_cert_file": "",
    "webhook_tls_key_file": "",
    "notify_alertmanager_url": frozenset(),
    "notify_token_file": "",
    "notify_ca_file": "",
    "marks_per_second": 20,
    "signals_per_namespace": 1000,
    "requests_per_namespace": 1000,
    "terminal_phases": frozenset(
        {"Succeeded", "Completed", "Failed", "Cancelled", "TimedOut", "Skipped", "Aborted"}
    ),
    "active_phases": frozenset(
        {
            "Pending",
            "Analyzing",
            "AwaitingApproval",
            "InProgress",
            "Processing",
            "Executing",
            "Running",
            "Verifying",
            "Blocked",
        }
    ),
    "grace_seconds": 20.0,
    "log_level": "INFO",
}


@pytest.fixture(autouse=True)
def no_pod_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may run them in a pod."""
    monkeypatch.delenv("POD_NAME", raising=False)


def test_nothing_has_to_be_set() -> None:
    assert Settings().model_dump() == DEFAULTS


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("REDIS_URL", "redis+cluster://redis:6379", "redis+cluster://redis:6379"),
        ("NAMESPACE", "ops", "ops"),
        ("IDENTITY", "replica-1", "replica-1"),
        ("HTTP_HOST", "127.0.0.1", "127.0.0.1"),
        ("HTTP_PORT", "0", 0),
        ("WEBHOOK_HOST", "127.0.0.1", "127.0.0.1"),
        ("WEBHOOK_PORT", "0", 0),
        ("WEBHOOK_ACK", "redis", "redis"),
        ("WEBHOOK_WAIT_SECONDS", "0.5", 0.5),
        ("WEBHOOK_POSTS", "2", 2),
        ("WEBHOOK_AUDIENCE", "stormfold", "stormfold"),
        ("WEBHOOK_SECRET_FILE", "/etc/secret", "/etc/secret"),
        (
            "NOTIFY_ALERTMANAGER_URL",
            "http://am-0.monitoring:9093, https://[::1]:9093/prefix/",
            frozenset(["http://am-0.monitoring:9093", "https://[::1]:9093/prefix/"]),
        ),
        ("NOTIFY_TOKEN_FILE", "/etc/token", "/etc/token"),
        ("NOTIFY_CA_FILE", "/etc/ca.crt", "/etc/ca.crt"),
        ("MARKS_PER_SECOND", "1000", 1000),
        ("SIGNALS_PER_NAMESPACE", "1", 1),
        ("TERMINAL_PHASES", "Merged", frozenset(["Merged"])),
        ("TERMINAL_PHASES", " Merged, In Progress,", frozenset(["Merged", "In Progress"])),
        ("TERMINAL_PHASES", "", frozenset()),
        ("ACTIVE_PHASES", "Draining, Rebooting", frozenset(["Draining", "Rebooting"])),
        ("GRACE_SECONDS", "0.5", 0.5),
        ("LOG_LEVEL", "DEBUG", "DEBUG"),
        ("LOG_LEVEL", "warning", "WARNING"),
    ],
)
def test_variable_sets_its_setting(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, value: object
) -> None:
    monkeypatch.setenv(f"STORMFOLD_{variable}", text)
    assert Settings().model_dump() == DEFAULTS | {variable.lower(): value}


def test_two_variables_set_the_pair_of_tls_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORMFOLD_WEBHOOK_TLS_CERT_FILE", "/tls/tls.crt")
    monkeypatch.setenv("STORMFOLD_WEBHOOK_TLS_KEY_FILE", "/tls/tls.key")
    assert Settings().model_dump() == DEFAULTS | {
        "webhook_tls_cert_file": "/tls/tls.crt",
        "webhook_tls_key_file": "/tls/tls.key",
    }


def test_every_setting_has_a_variable_that_is_tested_here() -> None:
    assert set(Settings.model_fields) == set(DEFAULTS)


def test_pod_names_its_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "stormfold-0")
    assert Settings().identity == "stormfold-0"


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("REDIS_URL", ""),
        ("NAMESPACE", "Ops"),
        ("NAMESPACE", "-ops"),
        ("NAMESPACE", "a" * 64),
        ("IDENTITY", ""),
        ("HTTP_PORT", "65536"),
        ("HTTP_PORT", "-1"),
        ("HTTP_PORT", "http"),
        ("WEBHOOK_PORT", "65536"),
        ("WEBHOOK_ACK", "Redis"),
        ("WEBHOOK_WAIT_SECONDS", "0"),
        ("WEBHOOK_WAIT_SECONDS", "301"),
        ("WEBHOOK_POSTS", "1"),
        ("WEBHOOK_AUDIENCE", "a" * 1025),
        ("WEBHOOK_TLS_CERT_FILE", "/tls/tls.crt"),
        ("WEBHOOK_TLS_KEY_FILE", "/tls/tls.key"),
        ("NOTIFY_ALERTMANAGER_URL", "am-0:9093"),
        ("NOTIFY_ALERTMANAGER_URL", "http://user:password@am-0:9093"),
        ("NOTIFY_ALERTMANAGER_URL", "http://am-0:9093/?token=secret"),
        ("MARKS_PER_SECOND", "0"),
        ("MARKS_PER_SECOND", "1001"),
        ("SIGNALS_PER_NAMESPACE", "0"),
        ("SIGNALS_PER_NAMESPACE", "100001"),
        ("TERMINAL_PHASES", '["Succeeded"]'),
        ("TERMINAL_PHASES", '"Succeeded"'),
        ("GRACE_SECONDS", "-1"),
        ("GRACE_SECONDS", "601"),
        ("GRACE_SECONDS", "nan"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_wrong_setting_ends_the_command_with_a_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, text: str
) -> None:
    monkeypatch.setenv(f"STORMFOLD_{variable}", text)
    assert run([]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("stormfold: ")
    assert variable in lines[0].upper()


def test_variable_of_ours_that_sets_nothing_is_named_with_what_may_have_been_meant() -> None:
    environment = {
        "STORMFOLD_HTTP_PROT": "1",
        "STORMFOLD_XYZ": "1",
        "STORMFOLD_HTTP_PORT": "1",
        "HTTP_PORT": "1",
    }
    assert list(unknown_variables(environment)) == [
        "STORMFOLD_HTTP_PROT is no setting and has no effect: did you mean STORMFOLD_HTTP_PORT?",
        "STORMFOLD_XYZ is no setting and has no effect",
    ]
