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
WHERE = {"group": "stormfold.dev", "version": "v1alpha1", "plural": "remediationrequests"}
WHERE["namespace"] = os.environ["NS"]
APPLY = {"field_manager": ME, "force": True, "_content_type": "application/apply-patch+yaml"}
CHOSEN = {"field_selector": "status.decision.verdict=Proceed,status.phase!=Closed", "timeout_seconds": 60}


def say(name, may, words):
    """Write all that we have to say of a request, as long as we may; gives the request then."""
    while may((request := api.get_namespaced_custom_object(**WHERE, name=name))["status"]):
        body = {field: request[field] for field in ("apiVersion", "kind")}
        body["metadata"] = {"resourceVersion": request["metadata"]["resourceVersion"]}
        body["status"] = words(request["status"])
        try:
            return api.patch_namespaced_custom_object_status(**WHERE, name=name, body=body, **APPLY)
        except client.ApiException as error:
            if error.status != 409:  # somebody else has written: read it again
                raise
    return None


def holder(status):
    return status.get("remediation", {}).get("claim", {}).get("holderIdentity")


def is_free(status):
    true = {condition["type"] for condition in status["conditions"] if condition["status"] == "True"}
    done = status.get("remediation", {}).get("observedRevision") == status["revision"]
    held = holder(status) and "ClaimExpired" not in true
    return "Proceed" in true and "Closed" not in true and not held and not done


def goes_on(status):
    return holder(status) == ME and status["phase"] != "Closed" and status["decision"]["verdict"] != "Stop"


def claim(status):
    until = (datetime.now(UTC) + timedelta(seconds=SECONDS)).isoformat()
    held = {"holderIdentity": ME, "revision": status["revision"], "expirationTime": until}
    return {"remediation": {"phase": "InProgress", "claim": held}}


def work_on(request):
    """Run the command as long as we hold the claim and may go on; then report, or release the request."""
    name = request["metadata"]["name"]
    with tempfile.TemporaryFile("w+") as given:
        json.dump(request, given)
        given.seek(0)
        with subprocess.Popen(sys.argv[1:], stdin=given) as command:
            try:
                while command.poll() is None and say(name, goes_on, claim):
                    with suppress(subprocess.TimeoutExpired):
                        command.wait(SECONDS / 3)
                code = command.poll()
            finally:
                command.kill()
    report = {"phase": "Failed" if code else "Succeeded", "message": f"exit code {code}"}
    report["observedRevision"] = request["status"]["revision"]
    say(name, lambda status: holder(status) == ME, lambda _: {} if code is None else {"remediation": report})


config.load_config()
api = client.CustomObjectsApi()
while True:  # each round begins with all requests that may proceed
    for event in watch.Watch().stream(api.list_namespaced_custom_object, **WHERE, **CHOSEN):
        name = event["object"]["metadata"]["name"]
        if event["type"] != "DELETED" and (request := say(name, is_free, claim)):
            work_on(request)
