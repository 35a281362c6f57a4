"""The Helm chart: what its values make of pods, options, monitors and network policies."""

from __future__ import annotations

from tests.harness.helm import Helm
from tests.harness.manifests import named, of_kind

POD = {
    "imagePullSecrets": [{"name": "registry"}],
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "infra", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "system-cluster-critical",
}
SPREAD = [{"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}]


async def test_values_of_the_pod_reach_the_pod(helm: Helm) -> None:
    objects = await helm.rendered(
        {
            **POD,
            "topologySpreadConstraints": SPREAD,
            "replicas": 3,
            "resources": {"limits": {"memory": "2Gi"}},
            "podAnnotations": {"note": "x"},
            "podLabels": {"team": "sre"},
            "image": {
                "repository": "example.org/stormfold",
                "digest": f"sha256:{'a' * 64}",
                "pullPolicy": "Always",
            },
            "extraEnv": [{"name": "STORMFOLD_LOG_LEVEL", "value": "DEBUG"}],
            "extraVolumes": [{"name": "shared", "secret": {"secretName": "shared"}}],
            "extraVolumeMounts": [{"name": "shared", "mountPath": "/shared"}],
            "serviceAccount": {"name": "folder", "annotations": {"cloud": "role"}},
            "redis": {"existingSecret": "mine"},
            "valkey": {
                **{name: POD[name] for name in ("nodeSelector", "tolerations", "affinity")},
                "image": {"repository": "example.org/valkey", "tag": "8"},
                "resources": {"limits": {"memory": "3Gi"}},
                "persistence": {"enabled": True, "size": "9Gi", "storageClassName": "fast"},
            },
        }
    )
    deployment = named(objects, "Deployment")
    template = deployment["spec"]["template"]
    spec = template["spec"]
    (container,) = spec["containers"]
    environment = {env["name"]: env for env in container["env"]}
    assert {name: spec[name] for name in POD} == POD
    assert spec["topologySpreadConstraints"] == SPREAD
    assert deployment["spec"]["replicas"] == 3
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"memory": "2Gi"},
    }
    assert template["metadata"]["annotations"]["note"] == "x"
    assert template["metadata"]["labels"]["team"] == "sre"
    assert container["image"] == f"example.org/stormfold@sha256:{'a' * 64}"
    assert container["imagePullPolicy"] == "Always"
    assert environment["STORMFOLD_LOG_LEVEL"]["value"] == "DEBUG"
    assert environment["STORMFOLD_REDIS_URL"]["valueFrom"]["secretKeyRef"]["name"] == "mine"
    assert {"name": "shared", "mountPath": "/shared"} in container["volumeMounts"]
    assert {"name": "shared", "secret": {"secretName": "shared"}} in spec["volumes"]

    assert spec["serviceAccountName"] == "folder"
    assert named(objects, "ServiceAccount", "folder")["metadata"]["annotations"] == {"cloud": "role"}
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        assert [subject["name"] for subject in binding["subjects"]] == ["folder"]
    assert of_kind(objects, "Secret") == []

    valkey = named(objects, "Deployment", "stormfold-valkey")["spec"]["template"]["spec"]
    (container,) = valkey["containers"]
    assert {name: valkey[name] for name in POD if name != "priorityClassName"} == {
        name: value for name, value in POD.items() if name != "priorityClassName"
    }
    assert container["image"] == "example.org/valkey:8"
    assert container["resources"] == {"limits": {"memory": "3Gi"}}
    claim = named(objects, "PersistentVolumeClaim", "stormfold-valkey")["spec"]
    assert claim["storageClassName"] == "fast"
    assert claim["resources"] == {"requests": {"storage": "9Gi"}}


async def test_arbitrary_user_ids_leave_the_user_to_the_platform(helm: Helm) -> None:
    objects = await helm.rendered({"arbitraryUserIds": True})
    for deployment in of_kind(objects, "Deployment"):
        assert deployment["spec"]["template"]["spec"]["securityContext"] == {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }


async def test_options_take_objects_away(helm: Helm) -> None:
    off = {
        "crds": {"install": False},
        "defaultPolicy": {"install": False},
        "networkPolicy": {"enabled": False},
        "serviceAccount": {"create": False},
        "monitoring": {"enabled": True, "monitor": "None", "rules": False, "dashboard": False},
    }
    kinds = {found["kind"] for found in await helm.rendered(off)}
    assert kinds == {
        *("Secret", "ConfigMap", "Service", "Deployment"),
        *("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    }


async def test_monitors_carry_the_labels_by_which_prometheus_selects(helm: Helm) -> None:
    objects = await helm.rendered(
        {
            "monitoring": {
                "enabled": True,
                "monitor": "PodMonitor",
                "interval": "5s",
                "labels": {"release": "p"},
            }
        }
    )
    (monitor,) = of_kind(objects, "PodMonitor")
    assert monitor["spec"] == {
        "selector": {"matchLabels": named(objects, "Deployment")["spec"]["selector"]["matchLabels"]},
        "podMetricsEndpoints": [{"port": "http", "path": "/metrics", "interval": "5s"}],
    }
    for found in (monitor, named(objects, "PrometheusRule")):
        assert found["metadata"]["labels"]["release"] == "p"
    assert of_kind(objects, "ServiceMonitor") == []


async def test_network_policies_open_the_ports_that_are_named(helm: Helm) -> None:
    ports = {"networkPolicy": {"apiServerPorts": [8443]}, "redis": {"existingSecret": "r", "ports": [7000]}}
    objects = await helm.rendered({**ports, "valkey": {"enabled": False}})
    egress = named(objects, "NetworkPolicy")["spec"]["egress"]
    assert egress[-1] == {"ports": [{"port": 8443}]}
    assert named(objects, "NetworkPolicy", "stormfold-to-redis")["spec"]["egress"] == [
        {"ports": [{"port": 7000}]}
    ]
