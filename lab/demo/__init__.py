"""The demo: real Signals on a real API server become one request per storm. `make demo` runs it."""
