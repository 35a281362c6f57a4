"""The demo and the real parts it runs on: etcd and kube-apiserver built from source, an embedded Valkey.

Nothing of the operator depends on this package; the command line loads it only for `stormfold demo`, and the
tests borrow its control plane and servers.
"""
