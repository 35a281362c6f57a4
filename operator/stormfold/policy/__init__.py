"""Second room: which storm a signal belongs to. Pure functions over values."""
