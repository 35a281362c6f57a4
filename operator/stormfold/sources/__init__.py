"""First room: signals come in and become arrivals: Signals, Events, and alerts."""
