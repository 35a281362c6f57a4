"""Soak: at half of what the machine takes, nothing grows.

`make soak` starts a real API server, a real Valkey and two operators, measures how many Signals a second they
take, and then sends half as many for ten minutes, and alerts besides. Storms open and close, Signals are
deleted by their retention: what is not the same at the end as in the middle leaks.

| module | what |
|---|---|
| stream | which group's turn it is, and what is sent to it; without I/O |
| sending | sends it, at full speed or at a rate |
| world | API server, Valkey, two operators |
| counts | what was sent against what requests say |
| sampling | memory, sockets, threads, Redis, every few seconds |
| report | medians of the thirds, and what is flat |
"""
