"""`Signal` resources: read, told from what was counted, marked, and deleted in the end."""
