"""Real servers on loopback, for the demo, the tests, the benchmarks and the scripts: etcd and kube-apiserver,
built from source where the machine has none, an embedded Valkey, and kubectl.

The lab is no part of the operator's wheel. Neither of the two imports the other.
"""
