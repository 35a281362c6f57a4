"""A consumer: claims each request of a namespace that may proceed, runs a command on it, and reports.

    pip install 'kubernetes>=37'
    NS=shop python consumer.py ./roll-back.sh

The command gets the name of the request as its last argument. Exit code 0 reports Succeeded, any other
Failed. It is ended after CLAIM_SECONDS, and if the verdict becomes Stop or the request closes. Run as many of
these as you like: docs/consumers.md tells how exactly one gets a request. An error of the API server ends
it: let a Deployment start it again.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from kubernetes import client, config, watch

ME = os.environ.get("POD_NAME", f"consumer-{os.getpid()}")  # no other consumer may have this name
SECONDS = int(os.environ.get("CLAIM_SECONDS", "600"))
WHERE = "stormfold.dev", "v1alpha1", os.environ["NS"], "remediationrequests"
CHOSEN = {"timeout_seconds": 60, "field_selector": "status.decision.verdict=Proceed,status.phase!=Closed"}


def say(name, words, path, value):
    """Write all that we have to say of a request, if it has this value at this path: 422 if not."""
    test, add = {"op": "test", "path": path, "value": value}, {"op": "add", "path": "/status/remediation"}
    how = {"field_manager": ME, "_content_type": "application/json-patch+json"}
    api.patch_namespaced_custom_object_status(*WHERE, name, [test, add | {"value": words}], **how)


def is_free(status):
    said = status.get("remediation", {})
    expired = any(c["type"] == "ClaimExpired" and c["status"] == "True" for c in status["conditions"])
    return said.get("observedRevision") != status["revision"] and ("claim" not in said or expired)


def work_on(name, version, revision):
    until = datetime.now(UTC) + timedelta(seconds=SECONDS + 5)  # the command ends before the claim does
    claim = {"holderIdentity": ME, "revision": revision, "expirationTime": until.isoformat()}
    say(name, {"phase": "InProgress", "claim": claim}, "/metadata/resourceVersion", version)
    with subprocess.Popen(["timeout", "-k3", str(SECONDS), *sys.argv[1:], name]) as command:  # noqa: S607
        while (code := command.poll()) is None:
            time.sleep(1)
            status = api.get_namespaced_custom_object(*WHERE, name)["status"]
            if status["decision"]["verdict"] == "Stop" or status["phase"] == "Closed":
                command.terminate()
    report = {"phase": "Failed" if code else "Succeeded", "message": f"exit code {code}"}
    report["observedRevision"] = revision
    # -15: ended by SIGTERM, as above, so it is released.
    say(name, {} if code == -15 else report, "/status/remediation/claim/holderIdentity", ME)


config.load_config()
api = client.CustomObjectsApi()
while True:  # each round begins with all requests that may proceed
    for event in watch.Watch().stream(api.list_namespaced_custom_object, *WHERE, **CHOSEN):
        metadata, status = event["object"]["metadata"], event["object"]["status"]
        if event["type"] != "DELETED" and is_free(status):
            # A request that has changed meanwhile comes again.
            with suppress(client.exceptions.UnprocessableEntityException):
                work_on(metadata["name"], metadata["resourceVersion"], status["revision"])
