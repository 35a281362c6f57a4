"""Fold storms of signals into one RemediationRequest each.

A Kubernetes operator. Many signals about one trouble come in (`Signal` resources, alerts, Events); one
`RemediationRequest` per storm comes out, and its status says what is known so far. Kubernetes holds the
truth; Redis or Valkey counts quickly and may be emptied at any moment.
"""

__version__ = "0.1.0"
