"""Faults: what breaks, when, and for how long. A seed makes a schedule; each fault is bounded, and mended by
itself.

Faults on the same subject wait for each other; those on different ones overlap as they fall.

| module | what breaks |
|---|---|
| fault | what all faults have in common |
| operators | the operators, and what one of them has of Redis |
| redis | Redis, for all of them |
| api_server | the API server as they see it |
| requests | requests, by hand |
| schedule | the faults of a seed |
"""
