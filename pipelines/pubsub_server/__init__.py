"""A small Pub/Sub server on loopback, for the demo and for tests; no part of the scorer.

`names` and `messages` are plain values, `backlog` and `broker` the logic (pure, clock handed in),
`service` and `server` put gRPC around it. Google's emulator passes the same contract tests.
"""
