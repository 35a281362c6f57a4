"""Values that the rooms hand to each other: frozen, without I/O."""
