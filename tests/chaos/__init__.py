"""Chaos: whatever breaks, one request per storm, and every signal counted once.

`make chaos` starts a real API server, a real Redis and three operators, sends a seeded stream of signals
through both ways in, breaks everything meanwhile, and then compares what was sent with what the requests say.

| module | what |
|---|---|
| stream | what is sent, and when: a plan made from a seed, without I/O |
| sending, bodies | carries the plan out, and tries again as kubectl and Alertmanager do |
| faults | what breaks, when, and for how long |
| stores | Redis in its three forms, and what can be done to each |
| world | API server, Redis, operators, and who starts them again |
| accounting | what was sent, what was counted, and the history of each storm; a group's page is a ledger |
| leading, leaders | when somebody decided, and when nobody led |
| report | the table at the end |
"""
