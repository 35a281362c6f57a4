"""Checks an installation from inside of the cluster: is the operator ready, and does a Signal become a
request?

`helm test` runs it, in the operator's image. Environment: NAMESPACE. What it makes it deletes again.
"""

import json
import os
import secrets
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

SECONDS = 60.0
"""Within this each step must succeed."""
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
NAMESPACE = os.environ["NAMESPACE"]
NAME = f"stormfold-test-{secrets.token_hex(4)}"


def api(method: str, resource: str, body: Any = None) -> Any:
    """What the API server answers; `resource` is such as `signals/<name>`."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    with open(f"{ACCOUNT}/token", encoding="utf-8") as file:  # noqa: PTH123
        token = file.read()
    kind = "merge-patch+json" if method == "PATCH" else "json"
    request = urllib.request.Request(
        f"https://{host}:{port}/apis/stormfold.dev/v1alpha1/namespaces/{NAMESPACE}/{resource}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": f"application/{kind}"},
    )
    trust = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:
        return json.load(answer)


def made(kind: str, spec: Any) -> Any:
    """An object of ours with the name of this run."""
    metadata = {"name": NAME, "labels": {"stormfold-test": NAME}}
    return {"apiVersion": "stormfold.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def until(what: str, look: Callable[[], Any]) -> Any:
    """What `look` gives, once it gives something; ends the process with what was last seen if it does not."""
    deadline, seen = time.monotonic() + SECONDS, "nothing"
    while time.monotonic() < deadline:
        try:
            if found := look():
                print(f"ok: {what}", flush=True)
                return found
            seen = "not yet so"
        except urllib.error.HTTPError as error:
            seen = f"{error.code} {error.read().decode(errors='replace')[:500]}"
        except OSError as error:
            seen = str(error)
        time.sleep(0.5)
    sys.exit(f"FAILED: {what}: not within {SECONDS:g} s; last seen: {seen}")


def ready() -> bool:
    """Whether the operator says through its Service that it is ready."""
    with urllib.request.urlopen(f"http://stormfold.{NAMESPACE}:8080/readyz", timeout=5) as answer:
        return bool(answer.status == 200)


def accepted() -> bool:
    """Whether the policy of this run is in force."""
    conditions = api("GET", f"stormpolicies/{NAME}").get("status", {}).get("conditions", [])
    return any(it["type"] == "Accepted" and it["status"] == "True" for it in conditions)


def request_of() -> Any:
    """The request that counts the Signal of this run."""
    name = api("GET", f"signals/{NAME}").get("status", {}).get("remediationRequest", {}).get("name")
    return name and api("GET", f"remediationrequests/{name}")


def closed(name: str) -> bool:
    """Whether a request is closed."""
    return bool(api("GET", f"remediationrequests/{name}")["status"]["phase"] == "Closed")


def main() -> None:
    """Signal in, request out."""
    until("the operator is ready", ready)
    selector = {"matchLabels": {"stormfold-test": NAME}}
    policy = {"priority": 1000, "match": {"labelSelector": selector}, "groupBy": ["name"]}
    signal = {
        "name": "StormfoldTest",
        "severity": "info",
        "labels": {"stormfold-test": NAME},
        "source": "helm-test",
    }
    api("POST", "stormpolicies", made("StormPolicy", policy))
    try:
        until("its policy is accepted", accepted)
        api("POST", "signals", made("Signal", signal))
        name = until("its Signal has a request", request_of)["metadata"]["name"]
        finished = {"phase": "Succeeded", "message": "helm test"}
        api("PATCH", f"remediationrequests/{name}/status", {"status": {"remediation": finished}})
        until("the request is closed", lambda: closed(name))
        api("DELETE", f"remediationrequests/{name}")
    finally:
        for resource in ("signals", "stormpolicies"):
            try:
                api("DELETE", f"{resource}/{NAME}")
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise


if __name__ == "__main__":
    main()
