"""Decisions over gRPC for callers who cannot wait for a topic (docs/serve.md)."""
