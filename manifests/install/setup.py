"""Creates the Secret of Redis with a random password, and the default policy; what is there already stays as
it is.

A Job of install.yaml runs it, in the operator's image. Environment: NAMESPACE.
"""

import json
import os
import secrets
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

SECONDS = 120.0
"""Within this the API server must answer, and serve the CRDs."""
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LABELS = {"app.kubernetes.io/name": "stormfold", "app.kubernetes.io/part-of": "stormfold"}
POLICIES = "/apis/stormfold.dev/v1alpha1/clusterstormpolicies"


def secret(namespace: str) -> Any:
    """The Secret, with a password of its own."""
    password = secrets.token_hex(24)
    metadata = {"name": "stormfold-redis", "labels": {**LABELS, "app.kubernetes.io/component": "storage"}}
    url = f"redis://:{password}@stormfold-valkey.{namespace}:6379/0"
    data = {"password": password, "url": url}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def policy() -> Any:
    """The policy of manifests/base/default-policy.yaml."""
    return {
        "apiVersion": "stormfold.dev/v1alpha1",
        "kind": "ClusterStormPolicy",
        "metadata": {"name": "default", "labels": {**LABELS, "app.kubernetes.io/component": "policy"}},
        "spec": {"priority": 0, "groupBy": ["name", "namespace"]},
    }


def create(path: str, body: Any) -> None:
    """Create an object unless there is one of its name; tries again while the API server cannot.

    Raises:
        SystemExit: it could not within `SECONDS`, or must not.
    """
    named = f"{body['kind']} {body['metadata']['name']}"
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            post(path, body)
        except urllib.error.HTTPError as error:
            if error.code == 409:
                print(f"{named} is there and stays as it is", flush=True)
                return
            failure = f"{error.code} {error.read().decode(errors='replace')[:500]}"
            if error.code in {400, 401, 403, 422}:
                sys.exit(f"{named} was not created: {failure}")
        except OSError as error:
            failure = str(error)
        else:
            print(f"{named} is created", flush=True)
            return
        if time.monotonic() > deadline:
            sys.exit(f"{named} was not created within {SECONDS:g} s: {failure}")
        time.sleep(1)


def post(path: str, body: Any) -> None:
    """One POST to the API server, as the Job's service account."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(
        f"https://{host}:{port}{path}",
        method="POST",
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}",
            "Content-Type": "application/json",
        },
    )
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    urllib.request.urlopen(request, timeout=10, context=trust).close()


def main() -> None:
    """The Secret first: Valkey waits for it."""
    namespace = os.environ["NAMESPACE"]
    create(f"/api/v1/namespaces/{namespace}/secrets", secret(namespace))
    create(POLICIES, policy())


if __name__ == "__main__":
    main()
