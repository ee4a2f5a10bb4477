"""How sure must a label be, and how strongly held back the classifier that learns from it?

`python -m benchmarks.weak_labels` leaves out each of the four videos that train in the protocol
`youtube_spam_rules` in turn: rules label the other three, a classifier learns from these labels,
and the labels of the one that was left out say how often it is right. The fifth video takes no
part. Data: ../shared/data, or `LOCKSTEP_DATA`.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

from configs.protocol import Protocol, load_protocol
from pipelines.protocol.run import ProtocolRequest, run_protocol


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sure", type=float, nargs="+", default=[0.5, 0.7, 0.8])
    parser.add_argument("--regularisation", type=float, nargs="+", default=[1.0, 0.01, 0.001])
    asked = parser.parse_args()
    protocol = load_protocol("youtube_spam_rules")
    source = str(
        Path(os.environ.get("LOCKSTEP_DATA", "../shared/data"))
        / "youtube-spam"
        / "labelled"
        / "*.csv"
    )
    print("| sure | regularisation | rows that teach | accuracy |\n|---|---|---|---|")
    for sure in asked.sure:
        for strength in asked.regularisation:
            rows, right, taught = 0, 0.0, 0
            for left_out in protocol.split.train:
                made = run_protocol(
                    ProtocolRequest(_without(protocol, left_out, sure, strength), source)
                )
                [found] = [row for row in made.rows if row.name == "classifier"]
                rows, taught = rows + found.events, taught + made.train
                right += found.figures["accuracy"].value * found.events
            print(f"| {sure} | {strength} | {taught:,} | {right / rows:.4f} |", flush=True)


def _without(protocol: Protocol, video: str, sure: float, strength: float) -> Protocol:
    others = tuple(one for one in protocol.split.train if one != video)
    return dataclasses.replace(
        protocol,
        split=dataclasses.replace(protocol.split, train=others, test=(video,)),
        change={"training": {"text_regularisation": strength}},
        sure=sure,
    )


if __name__ == "__main__":
    sys.exit(main())
