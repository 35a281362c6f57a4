"""What `manifests/` says, and what an API server says to it. Nothing here runs pods."""

from __future__ import annotations

import os
import socket
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from tests.api.conftest import NewOperator
from tests.harness.certificates import behind_tls
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl, KubectlError
from tests.harness.manifests import (
    MANIFESTS,
    NAMESPACE,
    PROMETHEUS,
    ROOT,
    Manifest,
    dry_run,
    named,
    of_kind,
    pod_of,
    rendered,
)

from lab.controlplane import ControlPlane
from lab.process import Server, free_port
from lab.valkey import Valkey, embedded_valkey
from redis import Redis
from stormfold import __version__
from stormfold.settings import Settings

VARIANTS = (
    ("standalone",),
    ("standalone", "valkey-pvc", "monitoring", "events", "alertmanager", "notify"),
    ("ha",),
    ("ha", "redis-ca", "monitoring", "owners", "steering"),
    ("standalone", "openshift"),
)
"""An overlay and its components."""
ENFORCED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


@pytest.fixture(params=VARIANTS, ids=" ".join)
def variant(request: pytest.FixtureRequest) -> list[Manifest]:
    """The objects of an overlay with components."""
    return rendered(*request.param)


@pytest.mark.parametrize("overlay", ["standalone", "ha"])
def test_component_openshift_asks_for_no_user_id(overlay: str) -> None:
    for plain, open_shift in zip(
        of_kind(deepcopy(rendered(overlay)), "Deployment"),
        of_kind(rendered(overlay, "openshift"), "Deployment"),
        strict=True,
    ):
        context = plain["spec"]["template"]["spec"]["securityContext"]
        assert {context.pop(field, None) for field in ("runAsUser", "runAsGroup")} == {65532}
        context.pop("fsGroup", None)
        assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert open_shift == plain


def test_webhook_serves_the_certificate_that_is_mounted() -> None:
    spec = named(rendered("ha", "alertmanager", "webhook-tls"), "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    environment = {env["name"]: env.get("value") for env in container["env"]}
    (mount,) = container["volumeMounts"]
    (volume,) = spec["volumes"]
    assert volume == {"name": mount["name"], "secret": {"secretName": "stormfold-webhook-tls"}}
    assert {environment[f"STORMFOLD_WEBHOOK_TLS_{file}_FILE"] for file in ("CERT", "KEY")} == {
        f"{mount['mountPath']}/tls.crt",
        f"{mount['mountPath']}/tls.key",
    }


@pytest.fixture
async def restricted(kubectl: Kubectl) -> Kubectl:
    """kubectl, where the operator's namespace enforces what it is to enforce."""
    await kubectl("apply", "--server-side", "-f", str(MANIFESTS / "base" / "namespace.yaml"))
    return kubectl


async def test_api_server_takes_objects_and_pods_without_a_warning(
    variant: list[Manifest], restricted: Kubectl
) -> None:
    objects = [found for found in variant if found["kind"] not in PROMETHEUS]
    await dry_run(restricted, objects + [pod_of(it) for it in of_kind(objects, "Deployment")])


async def test_namespace_refuses_a_pod_that_keeps_its_capabilities(restricted: Kubectl) -> None:
    pod = pod_of(named(deepcopy(rendered("standalone")), "Deployment"))
    pod["spec"]["containers"][0]["securityContext"].pop("capabilities")
    with pytest.raises(KubectlError, match='violates PodSecurity "restricted:latest"'):
        await dry_run(restricted, [pod])


def test_every_object_has_its_labels_and_its_namespace(variant: list[Manifest]) -> None:
    cluster_wide = {
        *("Namespace", "CustomResourceDefinition", "ClusterStormPolicy"),
        *("ClusterRole", "ClusterRoleBinding"),
        *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    }
    for found in variant:
        metadata = found["metadata"]
        assert metadata.get("namespace") == (None if found["kind"] in cluster_wide else NAMESPACE), found
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "stormfold", found
        # By this label `make undeploy` knows what it takes away and what it leaves.
        assert metadata["labels"]["app.kubernetes.io/component"] in {
            *("crd", "namespace", "access", "policy", "storage", "steering"),
            *("operator", "valkey", "monitoring"),
        }, found
    labels = named(variant, "Namespace", NAMESPACE)["metadata"]["labels"]
    assert {name: labels.get(name) for name in ENFORCED} == ENFORCED


def test_kinds_are_those_of_the_folder_crds(variant: list[Manifest]) -> None:
    crds = of_kind(variant, "CustomResourceDefinition")
    assert {found["metadata"]["name"]: found["spec"] for found in crds} == {
        found["metadata"]["name"]: found["spec"]
        for found in (yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml"))
    }


def test_selectors_and_ports_find_their_pods(variant: list[Manifest]) -> None:
    templates = [found["spec"]["template"] for found in of_kind(variant, "Deployment")]
    services = of_kind(variant, "Service")

    def selected(labels: dict[str, str], among: list[Manifest]) -> list[Manifest]:
        return [it for it in among if labels.items() <= it["metadata"]["labels"].items()]

    def port_names(labels: dict[str, str]) -> set[str]:
        (template,) = selected(labels, templates)
        return {port["name"] for port in template["spec"]["containers"][0]["ports"]}

    for service in services:
        assert {p["targetPort"] for p in service["spec"]["ports"]} == port_names(service["spec"]["selector"])
    for policy in of_kind(variant, "NetworkPolicy"):
        spec = policy["spec"]
        for rule in spec.get("ingress", ()):
            ours = spec["podSelector"]["matchLabels"]
            assert {p["port"] for p in rule["ports"]} <= port_names(ours)
        for rule in spec.get("egress", ()):
            for peer in rule.get("to", ()):
                if "podSelector" not in peer:  # Alertmanagers, which are not ours
                    assert (peer, rule["ports"]) == (
                        {"namespaceSelector": {"matchLabels": {"stormfold.dev/alerts": "true"}}},
                        [{"port": 9093}],
                    )
                    continue
                names = port_names(peer["podSelector"]["matchLabels"])
                assert {p["port"] for p in rule["ports"]} <= names
    for budget in of_kind(variant, "PodDisruptionBudget"):
        assert len(selected(budget["spec"]["selector"]["matchLabels"], templates)) == 1
    for monitor in of_kind(variant, "ServiceMonitor"):
        (service,) = selected(monitor["spec"]["selector"]["matchLabels"], services)
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_operator_is_set_up_as_its_settings_say(variant: list[Manifest]) -> None:
    deployment = named(variant, "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert deployment["metadata"]["labels"]["app.kubernetes.io/version"] == __version__
    assert container["image"] == f"stormfold:{__version__}"
    assert container["command"] == ["stormfold", "run"]
    ours = {env["name"] for env in container["env"] if env["name"].startswith("STORMFOLD_")}
    assert ours == {"STORMFOLD_NAMESPACE", "STORMFOLD_REDIS_URL"}
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert {name.removeprefix("STORMFOLD_").lower() for name in ours} <= set(defaults)
    assert container["ports"] == [
        {"name": "http", "containerPort": defaults["http_port"]},
        {"name": "webhook", "containerPort": defaults["webhook_port"]},
    ]
    assert defaults["namespace"] == NAMESPACE
    assert spec["terminationGracePeriodSeconds"] >= defaults["grace_seconds"] + 10


def test_only_the_operator_has_a_token_of_the_api_server(variant: list[Manifest]) -> None:
    for deployment in of_kind(variant, "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        mounted = spec.get("automountServiceAccountToken", True)
        assert mounted == (deployment["metadata"]["name"] == "stormfold")


def listens(port: int) -> bool:
    """Whether a server on loopback takes a connection; OSError if not."""
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return True


@pytest.mark.parametrize("component", [(), ("valkey-pvc",)], ids=["in memory", "with a journal"])
def test_valkey_never_evicts_and_asks_for_the_password(component: tuple[str, ...], tmp_path: Path) -> None:
    objects = rendered("standalone", *component)
    (settings,) = of_kind(objects, "ConfigMap")
    spec = named(objects, "Deployment", "stormfold-valkey")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    environment = {env["name"]: env.get("value", "s3cret") for env in container["env"]}
    volumes = {volume.pop("name"): volume for volume in deepcopy(spec["volumes"])}
    claim = {"persistentVolumeClaim": {"claimName": "stormfold-valkey"}}
    assert volumes["data"] == (claim if component else {"emptyDir": {}})

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "valkey-server").symlink_to(embedded_valkey())
    port = free_port()
    text = settings["data"]["valkey.conf"].replace("dir /data", f"dir {tmp_path}")
    (tmp_path / "valkey.conf").write_text(f"{text}\nport {port}\nbind 127.0.0.1\n")
    shell, flags, script = container["command"]
    script = script.replace("/etc/valkey/valkey.conf", str(tmp_path / "valkey.conf"))
    environment["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    server = Server("valkey", [shell, flags, script], tmp_path / "valkey.log", environment)
    try:
        server.wait_until(lambda: listens(port), within_seconds=30)
        with Redis(port=port, password="s3cret", decode_responses=True) as client:
            found = client.config_get("maxmemory", "maxmemory-policy", "appendonly", "save", "requirepass")
        assert found == {
            "maxmemory": str(512 * 1024**2),
            "maxmemory-policy": "noeviction",
            "appendonly": "yes" if component else "no",
            "save": "",
            "requirepass": "s3cret",
        }
        assert "s3cret" not in Path(f"/proc/{server.pid}/cmdline").read_text()
    finally:
        server.kill()


async def test_component_makes_the_operator_trust_an_authority_of_your_own(
    control_plane: ControlPlane, valkey: Valkey, operator: NewOperator
) -> None:
    (container,) = named(rendered("ha", "redis-ca", "monitoring"), "Deployment")["spec"]["template"]["spec"][
        "containers"
    ]
    (mount,) = container["volumeMounts"]
    (variable,) = (env for env in container["env"] if env.get("value") == f"{mount['mountPath']}/ca.crt")
    # The API server signed its certificate itself, for 127.0.0.1.
    certificate = control_plane.ca_file
    async with behind_tls(valkey.port, certificate) as port:
        url = f"rediss://127.0.0.1:{port}/0"
        stranger = await operator(redis_url=url, start=False)
        await stranger.start(ready=False)
        await eventually(lambda: not stranger.running, within=30, what="the operator ends")
        assert "CERTIFICATE_VERIFY_FAILED" in stranger.log.read_text()
        process = await operator(redis_url=url, environment={variable["name"]: str(certificate)})
        assert await process.terminate() == 0
