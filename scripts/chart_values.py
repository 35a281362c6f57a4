"""The values of the Helm chart: default, type and description. `make generate` writes them to files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

Object = dict[str, Any]
"""A map that Helm takes as it is."""
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
REPOSITORY = r"^([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9._-]+(/[a-z0-9._-]+)*$"
"""The name of an image: a registry, which may have a port, and a path; no tag."""
Repository = Annotated[str, Field(pattern=REPOSITORY)]
NameOrNone = Annotated[str, Field(max_length=253, pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")]
QUANTITY = r"^[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i|[eE][0-9]+)?$"
Quantity = Annotated[str | float, WithJsonSchema({"type": ["string", "number"], "pattern": QUANTITY})]


def _all_required(schema: Object) -> None:
    # Helm adds the defaults before it checks, so only a value that is null is missing.
    schema["required"] = [name for name in schema["properties"] if name != "global"]


class Values(BaseModel):
    """A map of values; one that is not known, or is null, is an error."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, json_schema_extra=_all_required)


class Piece(BaseModel):
    """A piece of a Kubernetes object: fields that people get wrong are checked, others by the API server."""

    model_config = ConfigDict(extra="allow")


class Resources(Piece):
    model_config = ConfigDict(extra="forbid")

    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}
    claims: list[Object] = []


class PullSecret(Piece):
    model_config = ConfigDict(extra="forbid")

    name: Name


class Variable(Piece):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
    value: str = ""
    valueFrom: Object = {}  # noqa: N815


class Volume(Piece):
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]


class VolumeMount(Volume):
    mountPath: Annotated[str, Field(min_length=1)]  # noqa: N815


class Toleration(Piece):
    key: str = ""
    operator: str = ""
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    tolerationSeconds: int = 0  # noqa: N815


class Affinity(Piece):
    model_config = ConfigDict(extra="forbid")

    nodeAffinity: Object = {}  # noqa: N815
    podAffinity: Object = {}  # noqa: N815
    podAntiAffinity: Object = {}  # noqa: N815


class Spread(Piece):
    topologyKey: Annotated[str, Field(min_length=1)]  # noqa: N815
    maxSkew: Annotated[int, Field(ge=1)]  # noqa: N815
    whenUnsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]  # noqa: N815


def checked(piece: type[Piece]) -> WithJsonSchema:
    """The check of a piece, for a map that Helm takes as it is."""
    return WithJsonSchema(piece.model_json_schema())


class Image(Values):
    """The operator's image."""

    repository: Repository = "stormfold"
    """Registry and name, without a tag."""
    tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$")] = ""
    """Empty: the chart's `appVersion`."""
    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """`sha256:…`; goes before the tag."""
    pullPolicy: Literal["", "Always", "IfNotPresent", "Never"] = ""  # noqa: N815 - the name of the field in Kubernetes
    """Empty: Kubernetes' default."""


class ValkeyImage(Image):
    """Valkey's image."""

    repository: Repository = "valkey/valkey"
    """Registry and name, without a tag."""
    tag: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")] = "9.1"
    """Its version."""


class ServiceAccount(Values):
    """The operator's ServiceAccount."""

    create: bool = True
    """False: it exists already."""
    name: Name = "stormfold"
    """Its name; it gets the operator's rights in either case."""
    annotations: dict[str, str] = {}
    """For instance for a cloud provider's workload identity."""


class Redis(Values):
    """How the operator reaches Redis."""

    existingSecret: NameOrNone = ""  # noqa: N815
    """Secret with the key `url`, and `password` if `valkey.enabled`. Empty: the chart makes `stormfold-redis`
    for its Valkey, with a random password."""
    caSecret: NameOrNone = ""  # noqa: N815
    """Secret whose `ca.crt` is the operator's authority for `rediss://`. Empty: the system's authorities."""
    ports: list[Port] = [6379, 6380, 26379]
    """Ports of a Redis of your own that the NetworkPolicy opens."""


class Persistence(Values):
    """A journal of Valkey on a volume."""

    enabled: bool = False
    """True: a restarted Valkey finds the open storms. False: they are read from Kubernetes again."""
    size: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(Mi|Gi|Ti|M|G|T)$")] = "2Gi"
    """`maxmemory` is 512 MB; while the journal is rewritten, two of them lie there."""
    storageClassName: NameOrNone = ""  # noqa: N815
    """Empty: the cluster's default."""


class Valkey(Values):
    """A Valkey in the operator's namespace. Its data may be lost at any time: all state is in Kubernetes."""

    enabled: bool = True
    """False: you have a Redis of your own, named by `redis.existingSecret`."""
    image: ValkeyImage = ValkeyImage()
    persistence: Persistence = Persistence()
    resources: Annotated[Object, checked(Resources)] = {}
    """Empty: CPU 100m, memory 64Mi requested; memory limit 768Mi, with `persistence` 1Gi."""
    nodeSelector: dict[str, str] = {}  # noqa: N815
    """Labels of the nodes that Valkey may run on."""
    tolerations: list[Annotated[Object, checked(Toleration)]] = []
    """Taints that Valkey tolerates."""
    affinity: Annotated[Object, checked(Affinity)] = {}
    """Affinity of Valkey's pod."""


class Crds(Values):
    """The CRDs. They are part of the release: `helm upgrade` upgrades and `helm uninstall` keeps them."""

    install: bool = True
    """False: somebody else installs them, for instance `kubectl apply --server-side -k crds`."""


class DefaultPolicy(Values):
    """The ClusterStormPolicy `default`, which takes every Signal that no other policy takes."""

    install: bool = True
    """True: an install or upgrade makes it if it does not exist, and leaves it as it is if it does."""


class Switch(Values):
    """An option without further values."""

    enabled: bool = False
    """True: granted."""


class Events(Switch):
    """Kubernetes Events as signals."""

    enabled: bool = False
    """True: the operator may list and watch Events in all namespaces, for policies that take them."""


class Owners(Switch):
    """Grouping by `owner` or `node`."""

    enabled: bool = False
    """True: the operator may list and watch pods and their controllers in all namespaces, for policies that
    group by them."""


class Steering(Switch):
    """Admission policies."""

    enabled: bool = False
    """True: the API server refuses what decisions and StormGates do not allow (docs/gates.md). An install
    needs the right to make ValidatingAdmissionPolicies."""


class Alertmanager(Values):
    """Alertmanager's webhook."""

    enabled: bool = False
    """True: a NetworkPolicy lets namespaces labelled `stormfold.dev/alerts=true` post alerts."""
    tlsSecret: NameOrNone = ""  # noqa: N815
    """Secret with `tls.crt` and `tls.key` for the webhook. Empty: no TLS."""


class Notify(Values):
    """One alert per storm, for your Alertmanagers."""

    enabled: bool = False
    """True: a NetworkPolicy lets the operator post to namespaces labelled `stormfold.dev/alerts=true`."""
    ports: Annotated[list[Port], Field(min_length=1)] = [9093]
    """Ports that it opens. Name the Alertmanagers in `extraEnv` (docs/notify.md)."""


class NetworkPolicies(Values):
    """NetworkPolicies of the operator and of Valkey."""

    enabled: bool = True
    """False: the chart makes none."""
    apiServerPorts: list[Port] = [443, 6443]  # noqa: N815
    """Ports of the API server: that of its Service, and that on which it listens."""


class Monitoring(Values):
    """For Prometheus with its operator, and for Grafana."""

    enabled: bool = False
    """True: what follows, and a NetworkPolicy for namespaces labelled `stormfold.dev/scrape=true`."""
    monitor: Literal["ServiceMonitor", "PodMonitor", "None"] = "ServiceMonitor"
    """How Prometheus finds the operator."""
    interval: Annotated[str, Field(pattern=r"^[0-9]+(ms|s|m)$")] = "30s"
    """How often it reads the metrics."""
    labels: dict[str, str] = {}
    """Labels by which your Prometheus selects monitors and rules."""
    rules: bool = True
    """PrometheusRule with alerts on stormfold itself."""
    dashboard: bool = True
    """ConfigMap with a Grafana dashboard, for Grafana's sidecar."""


class ChartValues(Values):
    """All values of the chart."""

    global_: Annotated[Object, Field(alias="global")] = {}
    """What a chart that includes this one shares with it; not used."""
    replicas: Annotated[int, Field(ge=1, le=16)] = 1
    """Operators. Each takes alerts and writes requests; one of them reads Signals and Events. From 2 on a
    PodDisruptionBudget keeps one available, and the replicas spread over nodes and zones."""
    image: Image = Image()
    imagePullSecrets: list[Annotated[Object, checked(PullSecret)]] = []  # noqa: N815
    """Secrets for the registries of both images: `[{name: …}]`."""
    resources: Annotated[Object, checked(Resources)] = {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"memory": "512Mi"},
    }
    """Of the operator; docs/install.md says how they were measured."""
    extraEnv: list[Annotated[Object, checked(Variable)]] = []  # noqa: N815
    """Further environment variables of the operator: `[{name: STORMFOLD_LOG_LEVEL, value: DEBUG}]`
    (docs/settings.md)."""
    extraVolumes: list[Annotated[Object, checked(Volume)]] = []  # noqa: N815
    """Further volumes of the operator's pod."""
    extraVolumeMounts: list[Annotated[Object, checked(VolumeMount)]] = []  # noqa: N815
    """Where the operator mounts them."""
    podAnnotations: dict[str, str] = {}  # noqa: N815
    """Further annotations of the operator's pod."""
    podLabels: dict[str, str] = {}  # noqa: N815
    """Further labels of the operator's pod."""
    nodeSelector: dict[str, str] = {}  # noqa: N815
    """Labels of the nodes that the operator may run on."""
    tolerations: list[Annotated[Object, checked(Toleration)]] = []
    """Taints that the operator tolerates."""
    affinity: Annotated[Object, checked(Affinity)] = {}
    """Affinity of the operator's pods."""
    topologySpreadConstraints: list[Annotated[Object, checked(Spread)]] = []  # noqa: N815
    """Empty: from 2 replicas on, spread over nodes and zones where possible."""
    priorityClassName: NameOrNone = ""  # noqa: N815
    """Of the operator's pods."""
    arbitraryUserIds: bool = False  # noqa: N815
    """True: no `runAsUser`, `runAsGroup` and `fsGroup`, since the platform assigns them (OpenShift). False:
    65532."""
    serviceAccount: ServiceAccount = ServiceAccount()  # noqa: N815
    redis: Redis = Redis()
    valkey: Valkey = Valkey()
    crds: Crds = Crds()
    defaultPolicy: DefaultPolicy = DefaultPolicy()  # noqa: N815
    events: Events = Events()
    owners: Owners = Owners()
    steering: Steering = Steering()
    alertmanager: Alertmanager = Alertmanager()
    notify: Notify = Notify()
    networkPolicy: NetworkPolicies = NetworkPolicies()  # noqa: N815
    monitoring: Monitoring = Monitoring()


OVERLAYS: Mapping[str, Object] = {
    "standalone": {},
    "ha": {"replicas": 2, "valkey": {"enabled": False}, "redis": {"existingSecret": "stormfold-redis"}},
}
"""The overlays of manifests/, as values."""
COMPONENTS: Mapping[str, Object] = {
    "valkey-pvc": {"valkey": {"persistence": {"enabled": True}}},
    "alertmanager": {"alertmanager": {"enabled": True}},
    "notify": {"notify": {"enabled": True}},
    "webhook-tls": {"alertmanager": {"tlsSecret": "stormfold-webhook-tls"}},
    "redis-ca": {"redis": {"caSecret": "stormfold-redis-ca"}},
    "owners": {"owners": {"enabled": True}},
    "steering": {"steering": {"enabled": True}},
    "events": {"events": {"enabled": True}},
    "monitoring": {"monitoring": {"enabled": True}},
    "openshift": {"arbitraryUserIds": True},
}
"""Their components."""


def merged(*values: Object) -> Object:
    """One map of several, as Helm merges files of values: a later one goes before."""
    result: Object = {}
    for more in values:
        for name, value in more.items():
            both = isinstance(value, dict) and isinstance(result.get(name), dict)
            result[name] = merged(result[name], value) if both else value
    return result


def flags(values: Object, path: str = "") -> str:
    """The values as flags of `helm`."""
    found = []
    for name, value in values.items():
        if isinstance(value, dict):
            found.append(flags(value, f"{path}{name}."))
        else:
            found.append(f"--set {path}{name}={json.dumps(value) if isinstance(value, bool) else value}")
    return " ".join(found)
