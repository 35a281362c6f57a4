"""A consumer: claims each request of a namespace that may proceed, runs a command on it, and reports.

    pip install 'kubernetes>=37'
    NS=shop python consumer.py ./roll-back.sh

The command gets the name of the request as its last argument. Exit code 0 reports Succeeded, any other
Failed. It has CLAIM_SECONDS, and is ended if the verdict becomes Stop or the request closes. Run as many of
these as you like: docs/consumers.md tells how exactly one gets a request. Let a Deployment run it: an error
of the API server ends it while it waits for a request, but not while a command runs.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress

from kubernetes import client, config, watch

ME = os.environ.get("POD_NAME", f"consumer-{os.getpid()}")  # no other consumer may have this name
SECONDS = int(os.environ.get("CLAIM_SECONDS", "600"))
WHERE = "stormfold.dev", "v1alpha1", os.environ["NS"], "remediationrequests"
CHOSEN = {"timeout_seconds": 10, "field_selector": "status.decision.verdict=Proceed,status.phase!=Closed"}


def say(meta, words, path, value):
    """Write all that we have to say of a request, if it has this value at this path: 422 if not."""
    test, add = {"op": "test", "path": path, "value": value}, {"op": "add", "path": "/status/remediation"}
    how = {"_content_type": "application/json-patch+json", "_request_timeout": 5}
    api.patch_namespaced_custom_object_status(*WHERE, meta["name"], [test, add | {"value": words}], **how)


def utc(seconds):
    return time.strftime("%FT%TZ", time.gmtime(time.time() + seconds))


def is_free(status):
    said = status.get("remediation", {})
    ends = said.get("claim", {}).get("expirationTime", "")
    return ends < utc(-5) and said.get("observedRevision") != status["revision"]  # clocks differ


def work_on(meta, revision):
    # The command ends before the claim does.
    claim = {"holderIdentity": ME, "revision": revision, "expirationTime": utc(SECONDS + 15)}
    say(meta, {"phase": "InProgress", "claim": claim}, "/metadata/resourceVersion", meta["resourceVersion"])
    command = subprocess.Popen(["timeout", "-k3", str(SECONDS), *sys.argv[1:], meta["name"]])
    while utc(0) < claim["expirationTime"]:
        time.sleep(1)
        with suppress(Exception):  # no answer, or the command still runs: look again
            status = api.get_namespaced_custom_object(*WHERE, meta["name"], _request_timeout=5)["status"]
            over = status["decision"]["verdict"] == "Stop" or status["phase"] == "Closed"
            if over:
                command.terminate()
            report = {"phase": "Failed" if command.wait(0) else "Succeeded", "observedRevision": revision}
            return say(meta, {} if over else report, "/status/remediation/claim/holderIdentity", ME)


config.load_config()
api = client.CustomObjectsApi()
while True:  # each round begins with all requests that may proceed
    for event in watch.Watch().stream(api.list_namespaced_custom_object, *WHERE, **CHOSEN):
        if event["type"] != "DELETED" and is_free(event["object"]["status"]):
            with suppress(client.exceptions.UnprocessableEntityException):  # it has changed: it comes again
                work_on(event["object"]["metadata"], event["object"]["status"]["revision"])
