"""The API server's edge: its client, errors, Lease and Events."""
