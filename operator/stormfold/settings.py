"""Settings: each from an environment variable `STORMFOLD_…` or a flag of `stormfold run`; read here and
nowhere else."""

import difflib
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import Field, StringConstraints, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, PydanticUndefined
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stormfold.api import value_errors

PREFIX = "STORMFOLD_"
PHASE = r"^[A-Za-z0-9][-A-Za-z0-9_. ]{0,63}$"
ALERTMANAGER_URL = r"^https?://[-A-Za-z0-9._~\[\]:]+(/[-A-Za-z0-9._~/%]*)?$"
"""Without user and password: a token comes from a file."""
FORMS = value_errors.FORMS | {
    PHASE: "must be phases of letters, digits, spaces and - _ . with commas between them",
    ALERTMANAGER_URL: "must be http://host:port or https://host:port, without user, password and query",
}
"""Pattern → what a setting of that form is."""


def default_identity() -> str:
    """The pod's name; outside of one, host and process: two on one host must not take each other's Lease."""
    return os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"


class Settings(BaseSettings):
    """What can be set. The cluster is the one we run in, or else the current context of KUBECONFIG."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        use_attribute_docstrings=True,
        frozen=True,
        extra="ignore",
    )

    redis_url: Annotated[str, Field(min_length=1)] = "redis://127.0.0.1:6379/0"
    """The URL of Redis or Valkey: redis://, rediss:// (TLS), redis+cluster:// or
    redis+sentinel://host:port,…/service/db. Each form and its options: https://stormfold.dev/install/."""
    namespace: Annotated[str, Field(pattern=value_errors.NAMESPACE_NAME, max_length=63)] = "stormfold-system"
    """The operator's own namespace. It has the Lease, and Signals in it may report on other namespaces."""
    identity: Annotated[str, Field(min_length=1, max_length=253)] = Field(default_factory=default_identity)
    """The name of this replica in the Lease. Each replica needs a name of its own."""
    http_host: str = ""
    """Address for /livez, /readyz and /metrics; empty: all, IPv6 and IPv4."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port for /livez, /readyz and /metrics."""
    webhook_host: str = ""
    """Address to which Alertmanager posts; empty: all, IPv6 and IPv4."""
    webhook_port: Annotated[int, Field(ge=0, le=65535)] = 8090
    """Port to which Alertmanager posts, at /v1/alertmanager."""
    webhook_ack: Literal["request", "redis"] = "request"
    """When a post is answered by 200. request: when RemediationRequests hold its alerts. redis: when Redis
    holds them; they are lost if Redis is emptied before the request is written."""
    webhook_wait_seconds: Annotated[float, Field(gt=0, le=300)] = 8.0
    """How long a post may wait for that, in seconds. Then it is answered by 503. Alertmanager gives up after
    10 s or more."""
    webhook_posts: Annotated[int, Field(ge=2, le=100_000)] = 512
    """How many posts may be under way at once. One user gets half of what others leave. Beyond that, the
    answer is 503 or 429."""
    webhook_audience: Annotated[str, Field(max_length=1024)] = ""
    """The audience that bearer tokens must have. Empty: the API server."""
    webhook_secret_file: str = ""
    """File with a shared secret of at least 16 characters. A sender that has it as bearer token may report on
    every namespace. Read again when it changes."""
    webhook_tls_cert_file: str = ""
    """File with the webhook's certificate and its chain, as PEM; empty: no TLS. Read again when it
    changes."""
    webhook_tls_key_file: Annotated[str, Field(validate_default=True)] = ""
    """File with the key of the certificate, as PEM, without a passphrase."""
    notify_alertmanager_url: Annotated[
        frozenset[Annotated[str, StringConstraints(pattern=ALERTMANAGER_URL, max_length=1024)]], NoDecode
    ] = frozenset()
    """Alertmanagers that get one alert for each open storm, with commas between them:
    http://alertmanager-0:9093,http://alertmanager-1:9093. Empty: none (https://stormfold.dev/notify/)."""
    notify_token_file: str = ""
    """File with a bearer token for these Alertmanagers. Read for each post."""
    notify_ca_file: str = ""
    """File with the certificate authorities of these Alertmanagers, as PEM. Empty: those of the system. Read
    again when it changes."""
    marks_per_second: Annotated[int, Field(ge=1, le=1000)] = 20
    """How many Signals a second get a status that says what became of them."""
    signals_per_namespace: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """How many counted Signals a namespace keeps at most, also within the policy's retention. The oldest are
    deleted first. While more than 200 Signals a second arrive, deletions wait
    (https://stormfold.dev/overload/)."""
    requests_per_namespace: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """How many closed RemediationRequests a namespace keeps at most, also within requestRetention of the
    policy. The oldest are deleted first."""
    terminal_phases: Annotated[frozenset[Annotated[str, StringConstraints(pattern=PHASE)]], NoDecode] = (
        frozenset(("Succeeded", "Completed", "Failed", "Cancelled", "TimedOut", "Skipped", "Aborted"))
    )
    """Phases of status.remediation that close a request, with commas between them. Case does not matter. Any
    other phase leaves it open."""
    active_phases: Annotated[frozenset[Annotated[str, StringConstraints(pattern=PHASE)]], NoDecode] = (
        frozenset(
            (
                "Pending",
                "Analyzing",
                "AwaitingApproval",
                "InProgress",
                "Processing",
                "Executing",
                "Running",
                "Verifying",
                "Blocked",
            )
        )
    )
    """Phases of status.remediation that say that work goes on. The condition RemediationPhaseUnknown names a
    phase that is neither active nor terminal."""
    grace_seconds: Annotated[float, Field(ge=0, le=600)] = 20.0
    """How long, after SIGTERM, the operator writes what it has taken in, in seconds. Keep it below
    terminationGracePeriodSeconds."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The lowest level of messages that are logged."""

    @field_validator("terminal_phases", "active_phases", "notify_alertmanager_url", mode="before")
    @classmethod
    def _items_of_a_text(cls, value: Any) -> Any:
        return (
            [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value
        )

    @field_validator("log_level", mode="before")
    @classmethod
    def _level_in_any_case(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("webhook_tls_key_file")
    @classmethod
    def _tls_files_come_together(cls, key_file: str, info: ValidationInfo) -> str:
        if bool(key_file) != bool(info.data.get("webhook_tls_cert_file")):
            raise PydanticCustomError(
                "tls", "set it together with STORMFOLD_WEBHOOK_TLS_CERT_FILE, or set neither"
            )
        return key_file

    @property
    def redis_is_named(self) -> bool:
        """Whether somebody said where Redis is; the default address is for one's own machine, and no pod has
        it there."""
        return "redis_url" in self.model_fields_set or "KUBERNETES_SERVICE_HOST" not in os.environ


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def flag_of(name: str) -> str:
    """The flag of a setting."""
    return f"--{name.replace('_', '-')}"


def kind_of(field: FieldInfo) -> str:
    """What the values of a setting are, in a word."""
    if get_origin(field.annotation) is Literal:
        return "|".join(map(str, get_args(field.annotation)))
    if get_origin(field.annotation) is frozenset:
        return "LIST"
    return "TEXT" if field.annotation is str else "NUMBER"


def default_of(field: FieldInfo) -> str:
    """The default of a setting, as one would write it; empty if it is an empty text."""
    if field.default is PydanticUndefined:
        return "POD_NAME, or host and process id"
    if isinstance(field.default, frozenset):
        return ", ".join(sorted(field.default))
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """A warning for each variable that has our prefix and sets nothing."""
    known = [name.upper() for name in Settings.model_fields]
    for variable in sorted(environment):
        name = variable.removeprefix(PREFIX)
        if variable != name and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f": did you mean {PREFIX}{near[0]}?" if near else ""
            yield f"{variable} is no setting and has no effect{meant}"
