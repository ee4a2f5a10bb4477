"""Pub/Sub: a small loopback server for demo and tests, and the client that the source pulls with.

`names` and `messages` are plain values, `backlog` and `broker` the server's logic (pure, clock
handed in), `service` and `server` put gRPC around it; `client` is for every server, Google's too.
"""
