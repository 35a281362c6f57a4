// Programs and files of others that the tests use; built or read by tests/harness/programs.py. Only the versions named here
// matter: each program is built with the go.sum of its own module, and of the Prometheus operator only the CRDs are read.
module stormfold.dev/tests

go 1.26.0

require (
	github.com/prometheus-operator/prometheus-operator v0.85.0
	github.com/prometheus/alertmanager v0.34.2
	github.com/rhysd/actionlint v1.7.12
	helm.sh/helm/v4 v4.3.1
)
