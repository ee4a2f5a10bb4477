"""Features of events as they come: shards whose state lives in workers and in a runner's cells.

Pure functions and state machines, without Beam: `shard_log` is the driver, `ids` and `entity` are
what it keeps and folds, `rejoin` puts events and features together, `routes` says what goes where.
`transforms.steps.live` puts them into a pipeline.
"""
