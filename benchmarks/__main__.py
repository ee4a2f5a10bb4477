"""`make bench`: the batch path, then the streaming scorer, then text encoders.

Prints Markdown tables; docs/performance.md holds what one such run printed. Nothing here is an
assertion: machines differ, ratios within one run are what counts. Workers import this module
again, so it imports little.
"""


def main() -> None:
    """Runs the benchmarks."""
    from benchmarks import batch, encoder, streaming

    batch.main()
    streaming.main()
    encoder.main()


if __name__ == "__main__":
    main()
