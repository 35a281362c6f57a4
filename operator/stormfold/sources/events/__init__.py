"""Kubernetes Events: read, told from what was counted, watched while a policy wants them."""
