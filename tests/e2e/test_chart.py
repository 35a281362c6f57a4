"""The Helm chart on a cluster with nodes: installed, checked by `helm test`, upgraded and rolled back in a
storm, uninstalled."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from tests.e2e.cluster import PART, SYSTEM, Cluster
from tests.e2e.conftest import NewNamespace, NewTeam
from tests.e2e.installed import KEPT_BY_ALL, labelled, later_crds, uids
from tests.e2e.ongoing import going_on
from tests.harness import certificates, programs
from tests.harness.api import Api
from tests.harness.chart_values import COMPONENTS, OVERLAYS, merged
from tests.harness.eventually import eventually
from tests.harness.helm import Helm, copied

OF_VALKEY = {"valkey-pvc"}
"""Components of the overlay `standalone`."""
OF_THE_PLATFORM = {"openshift"}
"""Components that need more than Kubernetes: here nobody gives pods a user id."""

CHECKED = (
    "the operator is ready",
    "its policy is accepted",
    "its Signal has a request",
    "the request is closed",
)


def image(name: str) -> dict[str, str]:
    """Values of an image."""
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag}


TLS_END = """
import asyncio, ssl

async def pump(reader, writer):
    while sent := await reader.read(65536):
        writer.write(sent)
        await writer.drain()
    writer.close()

async def taken(reader, writer):
    redis_reader, redis_writer = await asyncio.open_connection("127.0.0.1", 6379)
    await asyncio.gather(pump(reader, redis_writer), pump(redis_reader, writer))

async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
    async with await asyncio.start_server(taken, port=6380, ssl=context) as server:
        await server.serve_forever()

asyncio.run(main())
"""
"""Takes TLS at 6380 and passes everything on to 6379: a valkey-server may be built without TLS."""


def redis(name: str, python: str) -> dict[str, Any]:
    """A Redis of the user's own that takes TLS with the Secret `tls`, and its Service; `python` is an image
    that has it."""
    labels = {"app": "redis"}
    container = {"name": "redis", "image": os.environ["VALKEY_IMAGE"], "command": ["valkey-server"]}
    container["args"] = ["--bind", "127.0.0.1", "--maxmemory-policy", "noeviction", "--save", ""]
    tls_end = {"name": "tls", "image": python, "command": ["python", "-c", TLS_END]}
    tls_end["readinessProbe"] = {"tcpSocket": {"port": 6380}, "periodSeconds": 1}
    tls_end["volumeMounts"] = [{"name": "tls", "mountPath": "/tls"}]
    volume = {"name": "tls", "secret": {"secretName": "tls"}}
    # A Deployment: a pod that belongs to nobody would keep its node from being drained.
    deployment = {
        "metadata": {"name": "redis", "namespace": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container, tls_end], "volumes": [volume]},
            },
        },
    }
    service = {
        "metadata": {"name": "redis", "namespace": name},
        "spec": {"selector": labels, "ports": [{"port": 6380}]},
    }
    items = [
        {"apiVersion": "apps/v1", "kind": "Deployment", **deployment},
        {"apiVersion": "v1", "kind": "Service", **service},
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


async def later_chart(cluster: Cluster, folder: Path) -> Path:
    """The chart as a later version may be."""
    later = copied(folder, version="9.9.9")
    for crd in yaml.safe_load_all(await later_crds(cluster.kubectl)):
        crd["metadata"]["labels"].pop("app.kubernetes.io/component")
        (later / "files" / "crds" / f"{crd['spec']['names']['plural']}.yaml").write_text(yaml.safe_dump(crd))
    return later


async def prepare(cluster: Cluster, own: str, folder: Path) -> None:
    """What the values of all components name: a Redis with TLS in a namespace, Secrets, and the kinds of the
    Prometheus operator."""
    kubectl = cluster.kubectl
    redis_pair = certificates.pair(folder, f"redis.{own}")
    webhook_pair = certificates.pair(folder, f"stormfold.{SYSTEM}")
    await kubectl("-n", own, "create", "secret", "tls", "tls", *redis_pair.flags())
    await kubectl("apply", "-f", "-", stdin=json.dumps(redis(own, cluster.image)))
    secret = ("-n", SYSTEM, "create", "secret")
    await kubectl(*secret, "generic", "stormfold-redis-ca", f"--from-file=ca.crt={redis_pair.certificate}")
    await kubectl(*secret, "tls", "stormfold-webhook-tls", *webhook_pair.flags())
    await kubectl(*secret, "generic", "own-redis", f"--from-literal=url=rediss://redis.{own}:6380/0")
    for plural in ("servicemonitors", "prometheusrules"):
        crd = programs.prometheus_operator_crds() / f"monitoring.coreos.com_{plural}.yaml"
        await kubectl("apply", "--server-side", "-f", str(crd))
    await kubectl("-n", own, "wait", "--for=condition=Available", "deployment/redis", "--timeout=60s")


async def test_chart_is_installed_upgraded_and_rolled_back_in_a_storm_and_uninstalled(
    changing: Cluster, api: Api, new_team: NewTeam, new_namespace: NewNamespace, tmp_path: Path
) -> None:
    kubectl, helm = changing.kubectl, Helm(tmp_path, changing.kubeconfig)
    await changing.undeploy(purge=True)
    await kubectl("create", "namespace", SYSTEM)
    await kubectl("label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted")
    images = {"image": image(changing.image), "valkey": {"image": image(os.environ["VALKEY_IMAGE"])}}
    await helm.upgrade(values=merged(images, *(COMPONENTS[name] for name in OF_VALKEY)))
    await changing.ready()
    said = await helm("test", "stormfold", "--namespace", SYSTEM, "--logs")
    assert [line for line in said.splitlines() if line.startswith("ok: ")] == [
        f"ok: {what}" for what in CHECKED
    ]
    assert "stormfold-test" not in await kubectl(
        "-n", SYSTEM, "get", "pods,sa,cm,networkpolicies", "-o", "name"
    )

    team = await new_team()
    own = await new_namespace()
    await prepare(changing, own, tmp_path)
    others = [COMPONENTS[name] for name in COMPONENTS.keys() - OF_VALKEY - OF_THE_PLATFORM]
    own_redis = {"redis": {"existingSecret": "own-redis"}}
    ha = merged(images, OVERLAYS["ha"], *others, own_redis)
    async with going_on(team, api, "pod-down"):
        there = await uids(kubectl, team.namespace)
        await helm.upgrade(await later_chart(changing, tmp_path), values=ha)
        await changing.ready(count=2)
        crd = await kubectl("get", "crd", "signals.stormfold.dev", "-o", "json")
        assert '"ticket"' in crd
        await helm("rollback", "stormfold", "1", "--namespace", SYSTEM, "--wait")
        await changing.ready()
        assert '"ticket"' not in await kubectl("get", "crd", "signals.stormfold.dev", "-o", "json")

    await helm("uninstall", "stormfold", "--namespace", SYSTEM, "--wait")
    await eventually(
        lambda: labelled(kubectl), lambda found: found.keys() == KEPT_BY_ALL, within=60, what="what is kept"
    )
    await team.report("pod-down", 6)
    await helm.upgrade(values=images)
    await changing.ready()
    await team.report("pod-down", 5)
    # Redis was exchanged three times: `firing` is an estimate from then on, and says so.
    (storm,) = (await team.quiet(within=60))["pod-down"]
    assert replace(storm, firing=0) == replace(team.expected["pod-down"], firing=0)
    assert there.items() <= (await uids(kubectl, team.namespace)).items()

    # As docs/install.md has it.
    await helm("uninstall", "stormfold", "--namespace", SYSTEM, "--wait")
    await kubectl("delete", "crd,clusterrole,clusterrolebinding", "-l", PART)
    await kubectl("delete", "namespace", SYSTEM)
    assert await labelled(kubectl) == {}
