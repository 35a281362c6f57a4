"""What an arrival does not say itself: its namespace's labels, its target's owner and node."""
