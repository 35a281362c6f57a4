"""First room: signals come in and become arrivals."""
