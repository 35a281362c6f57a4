"""The Helm chart: it says what `manifests/` says, and names what is wrong. Nothing here runs pods."""

from __future__ import annotations

import tarfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.harness.chart_values import COMPONENTS, OVERLAYS, merged, values_of
from tests.harness.helm import CHART, NAMESPACE, Helm, HelmError
from tests.harness.kubectl import Kubectl
from tests.harness.manifests import named, of_kind, pod_of, rendered

from stormfold import __version__

Manifest = dict[str, Any]
ROOT = Path(__file__).parents[3]
VARIANTS = [
    *((overlay,) for overlay in OVERLAYS),
    *((("standalone" if name == "valkey-pvc" else "ha"), name) for name in COMPONENTS),
    ("standalone", *(name for name in COMPONENTS if name != "redis-ca")),
    ("ha", *(name for name in COMPONENTS if name != "valkey-pvc")),
]
TOOL_LABELS = {"app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"}
CRD = "customresourcedefinitions"


def comparable(objects: list[Manifest]) -> dict[str, Manifest]:
    """The objects by kind and name, without what the two tools have to do differently. That is all of it:

    - labels that name the tool, the chart and its version;
    - the Namespace, which `helm install --create-namespace` makes, and the Secret, which `make deploy` makes;
    - `helm.sh/…` annotations: CRDs and roles for people are kept, the default policy is a hook;
    - kustomize names a ConfigMap by its content, the chart writes its digest into the pod's annotations;
    - the chart's `default-deny` selects stormfold's pods, since its namespace may be shared.
    """
    found: dict[str, Manifest] = {}
    for manifest in deepcopy(objects):
        kind, metadata = manifest["kind"], manifest["metadata"]
        if kind in {"Namespace", "Secret"}:
            continue
        for label in TOOL_LABELS:
            metadata.get("labels", {}).pop(label, None)
        annotations = metadata.pop("annotations", {})
        if others := {name: text for name, text in annotations.items() if not name.startswith("helm.sh/")}:
            metadata["annotations"] = others
        if kind == "Deployment":
            as_maps(manifest["spec"]["template"])
        if kind == "ConfigMap":
            metadata["name"] = without_hash(metadata["name"])
        if (kind, metadata["name"]) == ("NetworkPolicy", "default-deny"):
            del manifest["spec"]["podSelector"]
        found[f"{kind}/{metadata['name']}"] = manifest
    return found


def as_maps(template: Manifest) -> None:
    """Lists that are maps by name get one order; the digest goes, and what kustomize adds to a ConfigMap's
    name."""
    template["metadata"]["annotations"] = {
        name: text
        for name, text in template["metadata"].get("annotations", {}).items()
        if not name.startswith("checksum/")
    }
    spec = template["spec"]
    for volume in spec.get("volumes", ()):
        if "configMap" in volume:
            volume["configMap"]["name"] = without_hash(volume["configMap"]["name"])
    for holder, lists in ((spec, ("volumes",)), (spec["containers"][0], ("env", "volumeMounts"))):
        for name in lists:
            if name in holder:
                holder[name].sort(key=lambda item: item["name"])


def without_hash(name: str) -> str:
    """The name of a ConfigMap without kustomize's ten characters."""
    stem, _, end = name.rpartition("-")
    return stem if len(end) == 10 and stem else name


@pytest.mark.parametrize("variant", VARIANTS, ids=" ".join)
async def test_chart_has_the_objects_of_the_overlay_and_its_components(
    variant: tuple[str, ...], helm: Helm
) -> None:
    chart = comparable(await helm.rendered(values_of(*variant)))
    overlay = comparable(rendered(*variant))
    assert sorted(chart) == sorted(overlay)
    for name, manifest in overlay.items():
        assert chart[name] == manifest, name


def test_every_overlay_and_component_has_its_values() -> None:
    for folder, known in (("overlays", OVERLAYS), ("components", COMPONENTS)):
        assert {path.name for path in (ROOT / "manifests" / folder).iterdir()} == set(known)


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_nothing_names_the_usual_namespace_or_account_in_another_one(overlay: str, helm: Helm) -> None:
    components = [name for name in COMPONENTS if overlay == "standalone" or name != "valkey-pvc"]
    values = merged(values_of(overlay, *components), {"serviceAccount": {"name": "folder"}})
    printed = await helm("template", "mine", CHART, "--namespace", "ops", values=values)
    assert [line for line in printed.splitlines() if NAMESPACE in line] == []
    for found in yaml.safe_load_all(printed):
        for subject in (found or {}).get("subjects", ()):
            assert (subject["name"], subject["namespace"]) in {("folder", "ops"), ("stormfold-test", "ops")}


async def test_chart_is_sound_and_of_this_version(helm: Helm) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in await helm("lint", "--strict", CHART)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


async def test_objects_carry_the_labels_of_the_chart(helm: Helm) -> None:
    for found in await helm.rendered(values_of("ha", "monitoring", "events", "owners", "steering")):
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "stormfold", found
        assert labels["app.kubernetes.io/managed-by"] == "Helm", found
        assert labels["app.kubernetes.io/version"] == __version__, found
        assert labels["helm.sh/chart"] == f"stormfold-{__version__}", found


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"replicas": "two"}, "at '/replicas': got string, want integer", id="a type"),
        pytest.param({"replicas": 0}, "at '/replicas': minimum: got 0, want 1", id="a bound"),
        pytest.param(
            {"valkey": {"enable": False}},
            "at '/valkey': additional properties 'enable' not allowed",
            id="an unknown name",
        ),
        pytest.param(
            {"monitoring": {"monitor": "Scrape"}},
            "at '/monitoring/monitor': value must be one of 'ServiceMonitor', 'PodMonitor', 'None'",
            id="a choice",
        ),
        pytest.param(
            {"image": {"digest": "sha256:12"}}, "at '/image/digest': 'sha256:12' does not match", id="a form"
        ),
        pytest.param({"redis": None}, "at '': missing property 'redis'", id="a section without values"),
        pytest.param({"image": {"tag": None}}, "at '/image': missing property 'tag'", id="nothing"),
        pytest.param(
            {"resources": {"limits": {"memory": "512MB"}}},
            "at '/resources/limits/memory': '512MB' does not match",
            id="a quantity",
        ),
        pytest.param(
            {"valkey": {"resources": {"limit": {}}}},
            "at '/valkey/resources': additional properties 'limit' not allowed",
            id="an unknown name of Kubernetes",
        ),
        pytest.param(
            {"extraEnv": [{"name": "STORMFOLD_MARKS_PER_SECOND", "value": 2}]},
            "at '/extraEnv/0/value': got number, want string",
            id="a number for a text",
        ),
        pytest.param(
            {"tolerations": [{"key": "infra", "effect": "noschedule"}]},
            "at '/tolerations/0/effect': value must be one of '', 'NoSchedule'",
            id="a choice of Kubernetes",
        ),
        pytest.param(
            {"imagePullSecrets": ["registry"]},
            "at '/imagePullSecrets/0': got string, want object",
            id="a list",
        ),
        pytest.param(
            {"extraEnv": [{"name": "STORMFOLD_REDIS_URL", "value": "redis://other"}]},
            "extraEnv sets STORMFOLD_REDIS_URL, which the chart sets: remove it there",
            id="a variable of the chart",
        ),
        pytest.param(
            {"extraEnv": [{"name": "STORMFOLD_HTTP_PORT", "value": "9090"}]},
            "extraEnv sets STORMFOLD_HTTP_PORT, which the chart sets: remove it there",
            id="a port that Service and probes ask",
        ),
        pytest.param(
            {"extraEnv": [{"name": "STORMFOLD_IDENTITY", "value": "me"}]},
            "extraEnv sets STORMFOLD_IDENTITY, which the chart sets: remove it there",
            id="one name for all replicas",
        ),
        pytest.param(
            {"image": {"repository": "registry.example.org/stormfold:0.1.0"}},
            "at '/image/repository': 'registry.example.org/stormfold:0.1.0' does not match",
            id="a tag in the name of the image",
        ),
        pytest.param(
            {"valkey": {"image": {"repository": "Valkey"}}},
            "at '/valkey/image/repository': 'Valkey' does not match",
            id="a name that no image has",
        ),
        pytest.param(
            {"podLabels": {"app.kubernetes.io/name": "mine"}},
            "podLabels sets app.kubernetes.io/name, which the chart sets: remove it there",
            id="a label of the chart",
        ),
        pytest.param(
            {"valkey": {"enabled": False}},
            "redis.existingSecret is not set, and valkey.enabled is false: name the Secret whose key `url` "
            "says where "
            "Redis is",
            id="what belongs together",
        ),
    ],
)
async def test_wrong_value_is_named(values: Manifest, said: str, helm: Helm) -> None:
    with pytest.raises(HelmError) as refused:
        await helm.rendered(values)
    assert said in str(refused.value)


async def test_text_that_looks_like_a_number_stays_a_text(helm: Helm) -> None:
    values = {
        "priorityClassName": "1000",
        "serviceAccount": {"name": "0123"},
        "redis": {"existingSecret": "123", "caSecret": "456"},
        "alertmanager": {"tlsSecret": "789"},
        "valkey": {"persistence": {"enabled": True, "storageClassName": "true"}},
    }
    objects = await helm.rendered(values)
    spec = named(objects, "Deployment")["spec"]["template"]["spec"]
    assert (spec["priorityClassName"], spec["serviceAccountName"]) == ("1000", "0123")
    assert [volume["secret"]["secretName"] for volume in spec["volumes"]] == ["456", "789"]
    claim = named(objects, "PersistentVolumeClaim", "stormfold-valkey")
    assert claim["spec"]["storageClassName"] == "true"
    secrets = {
        env["valueFrom"]["secretKeyRef"]["name"]
        for deployment in of_kind(objects, "Deployment")
        for env in pod_of(deployment)["spec"]["containers"][0]["env"]
        if "secretKeyRef" in env.get("valueFrom", {})
    }
    assert secrets == {"123"}
    assert named(objects, "ServiceAccount", "0123")
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        assert [subject["name"] for subject in binding["subjects"]] == ["0123"]


@pytest.mark.parametrize("name", ["stormfold", "localhost:5000/a/b_c", "Registry.example.org/x-y/z"])
async def test_name_of_an_image_may_have_a_registry_with_a_port(name: str, helm: Helm) -> None:
    objects = await helm.rendered({"image": {"repository": name}})
    (container,) = named(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{name}:{__version__}"


async def test_chart_takes_what_a_parent_chart_shares(helm: Helm) -> None:
    assert await helm.rendered({"global": {"anything": 1}, "redis": {"existingSecret": "mine"}}) == (
        await helm.rendered({"redis": {"existingSecret": "mine"}})
    )


@pytest.mark.parametrize(
    "variant",
    [
        ("standalone", "valkey-pvc", "events", "alertmanager"),
        ("ha", "redis-ca", "webhook-tls", "owners", "steering"),
    ],
    ids=" ".join,
)
async def test_api_server_takes_objects_and_pods_without_a_warning(
    variant: tuple[str, ...], helm: Helm, kubectl: Kubectl
) -> None:
    namespace = ROOT / "manifests" / "base" / "namespace.yaml"
    await kubectl("apply", "--server-side", "-f", str(namespace))
    printed = await helm(
        *("template", "stormfold", CHART, "--namespace", NAMESPACE),
        values=values_of(*variant),
    )
    objects = [found for found in yaml.safe_load_all(printed) if found]
    pods = [pod_of(found) for found in of_kind(objects, "Deployment")]
    await kubectl(
        *(
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--warnings-as-errors",
            "-f",
            "-",
        ),
        *("--force-conflicts",),
        stdin=yaml.safe_dump_all(objects + pods),
    )


async def test_package_holds_no_file_that_the_chart_does_not_need(helm: Helm, tmp_path: Path) -> None:
    await helm("package", CHART, "--destination", tmp_path)
    with tarfile.open(tmp_path / f"stormfold-{__version__}.tgz") as archive:
        listed = archive.getnames()
    there = {f"stormfold/{path.relative_to(CHART)}" for path in CHART.rglob("*") if path.is_file()}
    assert set(listed) == there
