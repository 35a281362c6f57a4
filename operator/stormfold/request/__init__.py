"""Fourth room: requests go out."""
