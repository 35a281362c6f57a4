//go:build tools

// Package controlplane names the commands of the demo's control plane, so that
// `go mod tidy` keeps their modules in go.mod and go.sum.
package controlplane

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
)
