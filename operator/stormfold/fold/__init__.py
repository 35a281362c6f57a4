"""Third room: signals are folded into storms in Redis."""
