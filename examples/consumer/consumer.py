"""A consumer: claims each request of a namespace that may proceed, runs a command on it, and reports.

    pip install kubernetes
    NS=shop python consumer.py ./roll-back.sh

The command reads the request as JSON from its standard input. Exit code 0 reports Succeeded, any other
Failed. Run as many of these as you like: docs/consumers.md tells how exactly one gets a request. An error of
the API server ends it and the command: let a Deployment start it again.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from kubernetes import client, config, watch

ME = os.environ.get("POD_NAME", f"consumer-{os.getpid()}")  # no other consumer may have this name
SECONDS = int(os.environ.get("CLAIM_SECONDS", "60"))
KIND = {"group": "stormfold.dev", "version": "v1alpha1", "plural": "remediationrequests"}
WHERE = KIND | {"namespace": os.environ["NS"]}


def read(name):
    """The request as it is now, and who has claimed it."""
    request = api.get_namespaced_custom_object(**WHERE, name=name)
    return request, request["status"].get("remediation", {}).get("claim", {}).get("holderIdentity")


def say(request, **remediation):
    """Write all that we have to say of a request; whether it was still as we have read it."""
    metadata = {"resourceVersion": request["metadata"]["resourceVersion"]}
    body = {"apiVersion": request["apiVersion"], "kind": "RemediationRequest", "metadata": metadata}
    body["status"] = {"remediation": remediation} if remediation else {}
    how = {"field_manager": ME, "force": True, "_content_type": "application/apply-patch+yaml"}
    name = request["metadata"]["name"]
    try:
        api.patch_namespaced_custom_object_status(**WHERE, name=name, body=body, **how)
    except client.ApiException as error:
        if error.status != 409:
            raise
        return False
    return True


def claim(request, revision):
    """Take a request, or hold it for longer; whether it was still as we have read it."""
    until = (datetime.now(UTC) + timedelta(seconds=SECONDS)).isoformat()
    held = {"holderIdentity": ME, "revision": revision, "expirationTime": until}
    return say(request, phase="InProgress", claim=held)


def goes_on(name, revision):
    """Hold the request for longer; False: it is closed or no longer ours, or the verdict is Stop."""
    while True:
        request, holder = read(name)
        status = request["status"]
        if holder != ME or status["phase"] == "Closed" or status["decision"]["verdict"] == "Stop":
            return False
        if claim(request, revision):
            return True


def run(request, name, revision):
    """The exit code of the command; None if we have ended it."""
    with tempfile.TemporaryFile("w+") as text:
        json.dump(request, text)
        text.seek(0)
        with subprocess.Popen(sys.argv[1:], stdin=text) as command:
            try:
                while True:
                    with suppress(subprocess.TimeoutExpired):
                        return command.wait(SECONDS / 3)
                    if not goes_on(name, revision):
                        return None
            finally:
                command.kill()


def act(name):
    """Claim the request if nobody works on it, run the command, and report or release."""
    request, holder = read(name)
    revision, conditions = request["status"]["revision"], request["status"]["conditions"]
    true = {condition["type"] for condition in conditions if condition["status"] == "True"}
    done = request["status"].get("remediation", {}).get("observedRevision") == revision
    if "Closed" in true or "Proceed" not in true or done or (holder and "ClaimExpired" not in true):
        return
    if claim(request, revision):
        code = run(request, name, revision)
        phase = "Failed" if code else "Succeeded"
        report = {"phase": phase, "observedRevision": revision, "message": f"exit code {code}"}
        request, holder = read(name)
        while holder == ME and not say(request, **({} if code is None else report)):
            request, holder = read(name)


config.load_config()
api = client.CustomObjectsApi()
while True:  # each round begins with all requests that may proceed
    chosen = {"field_selector": "status.decision.verdict=Proceed,status.phase!=Closed", "timeout_seconds": 60}
    for event in watch.Watch().stream(api.list_namespaced_custom_object, **WHERE, **chosen):
        if event["type"] != "DELETED":
            act(event["object"]["metadata"]["name"])
