#!/usr/bin/env bash
# A consumer of one request: waits until it may proceed, claims it, runs a command on it, and reports.
#   NS=shop REQUEST=storm-3f4240bed4e8e8d3-1 ./consumer.sh ./roll-back.sh
# The command reads the request as JSON. It has MINUTES, and is ended if the verdict becomes Stop.
set -euo pipefail
ME=${POD_NAME:-consumer-$HOSTNAME-$$} # no other consumer may have this name
MINUTES=${MINUTES:-15}

say() { # say WHAT: all that this consumer has to say, without force
  kubectl apply --server-side --subresource=status --field-manager="$ME" -f - <<YAML
apiVersion: stormfold.dev/v1alpha1
kind: RemediationRequest
metadata: {namespace: $NS, name: $REQUEST}
status: {$1}
YAML
}

kubectl wait -n "$NS" "rreq/$REQUEST" --for=condition=Proceed --timeout="${WAIT:-1h}"
request=$(kubectl get -n "$NS" "rreq/$REQUEST" -o json)
revision=$(kubectl get -n "$NS" "rreq/$REQUEST" -o jsonpath='{.status.revision}')
until=$(date -u -d "+$((MINUTES + 1)) minutes" +%FT%TZ) # the command ends before the claim does
claim="{holderIdentity: $ME, revision: $revision, expirationTime: '$until'}"
say "remediation: {phase: InProgress, claim: $claim}"

timeout "${MINUTES}m" "$@" <<<"$request" &
command=$!
(kubectl wait -n "$NS" "rreq/$REQUEST" --for=jsonpath='{.status.decision.verdict}'=Stop \
  --timeout="${MINUTES}m" >/dev/null 2>&1 && kill "$command") &
watcher=$!
code=0
wait "$command" || code=$?
pkill -P "$watcher" || true
report() { say "remediation: {phase: $1, observedRevision: $revision, message: exit code $code}"; }
case $code in
  0) report Succeeded ;;
  124) report TimedOut ;;
  143) say "" ;; # stopped: released, for whoever may begin later
  *) report Failed ;;
esac
