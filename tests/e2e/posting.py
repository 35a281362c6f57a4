"""A pod that posts alerts to the webhook, as its ServiceAccount; it runs the operator's image, which has
Python."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import yaml
from tests.e2e.cluster import Cluster
from tests.harness.alertmanager import Alert
from tests.harness.api import Manifest

NAME = "poster"
SERVICE = "stormfold.stormfold-system"
"""What Alertmanager is told to post to; a name of the cluster's DNS."""
PATH = "/v1/alertmanager"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
TRYING_SECONDS = 30.0
POST = f"""
import json, sys, time, urllib.error, urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

headers = {{"Content-Type": "application/json", "Authorization": "Bearer " + Path("{TOKEN}").read_text()}}

def post(sent):
    url, body = sent
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    deadline = time.monotonic() + {TRYING_SECONDS}
    for tries in range(1, sys.maxsize):
        try:
            answer = urllib.request.urlopen(request, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        except OSError as error:
            answer = None
            if time.monotonic() > deadline:
                raise
        if answer and (answer.status < 500 or time.monotonic() > deadline):
            return answer.status, json.loads(answer.read() or "null"), tries
        time.sleep(0.2)

posts = json.load(sys.stdin)
with ThreadPoolExecutor(len(posts)) as pool:
    json.dump([*pool.map(post, posts)], sys.stdout)
"""
"""Posts all (URL, body) of stdin at once, and prints what was answered to each. Like Alertmanager it tries
again after a 5xx, and when nobody answers."""


@dataclass(frozen=True)
class Answer:
    """What was answered to a body."""

    code: int
    said: Any
    tries: int = 1
    """How often it was posted until then."""


def taken(alerts: int) -> Answer:
    """The answer to a body of so many alerts that are all in their requests."""
    return Answer(200, {"accepted": alerts, "rejected": [], "discarded": [], "pending": []})


def answered(code: int, said: Any, tries: int) -> Answer:
    """What was answered, without the requests, of which it is made sure that they have all that was taken.
    Alertmanager, which is posted to as well, answers 200 and says nothing."""
    if code == HTTPStatus.OK and said is not None:
        requests = said.pop("requests", [])
        assert sum(request["alerts"] for request in requests) == said["accepted"]
    return Answer(code, said, tries)


@dataclass(frozen=True)
class Poster:
    """The pod, in a namespace."""

    cluster: Cluster
    namespace: str

    async def post(self, bodies: Iterable[Sequence[Alert]], *hosts: str) -> list[Answer]:
        """Post each body to the webhook of each host, all at once, and give the answers in that order; no
        host: the Service."""
        return await self.send(
            (f"http://{host}:8090{PATH}", body(alerts)) for alerts in bodies for host in hosts or (SERVICE,)
        )

    async def send(self, posts: Iterable[tuple[str, Any]]) -> list[Answer]:
        """Post to each URL its body, all at once, and give the answers in that order."""
        said = await self.cluster.kubectl(
            *("-n", self.namespace, "exec", "-i", NAME, "--", "python", "-c", POST),
            stdin=json.dumps([*posts]),
        )
        return [answered(*answer) for answer in json.loads(said)]


def body(alerts: Sequence[Alert]) -> Manifest:
    """What Alertmanager posts, as far as it is read; without a fingerprint, an alert is known by its
    labels."""
    said = [
        {
            "status": "firing" if alert.ends_at is None else "resolved",
            "labels": alert.labels,
            "startsAt": alert.starts_at.isoformat(),
        }
        for alert in alerts
    ]
    return {"version": "4", "alerts": said}


@asynccontextmanager
async def poster(cluster: Cluster, namespace: str) -> AsyncIterator[Poster]:
    """A pod whose ServiceAccount may make Signals in its own namespace, and so may post alerts for it."""
    kubectl = cluster.kubectl
    inside = ("-n", namespace)
    await kubectl(*inside, "create", "serviceaccount", NAME)
    await kubectl(*inside, "create", "role", NAME, "--verb=create", "--resource=signals.stormfold.dev")
    await kubectl(
        *(*inside, "create", "rolebinding", NAME, f"--role={NAME}"),
        f"--serviceaccount={namespace}:{NAME}",
    )
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "serviceAccountName": NAME,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": cluster.image, "command": ["sleep", "infinity"]}],
        },
    }
    await kubectl.apply(yaml.safe_dump(pod))
    await kubectl(*inside, "wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=60s")
    yield Poster(cluster, namespace)
    # A pod that no controller made would keep its node from being drained.
    await kubectl(*inside, "delete", "pod", NAME)
