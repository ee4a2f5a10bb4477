"""The comparable features by Temporian, in an environment of its own: imports nothing of ours.

python temporian_windows.py PREPARED FEATURES: a folder of Parquet, and a file of JSON that has
[entity, name, measure, op, microseconds] for each feature. A window of Temporian holds the event
itself; so what is folded is moved on by a microsecond first, and sampled at the events.
"""

import glob
import json
import sys

import pyarrow.parquet as pq
import temporian as tp

AT = "sent"


def main():
    """Computes them; prints how many events there were."""
    folder, features = sys.argv[1:]
    with open(features) as file:
        asked = json.load(file)
    frame = pq.read_table(glob.glob(f"{folder}/*.parquet")).to_pandas()
    seconds = frame[AT].astype("int64") / 1e6
    for entity in dict.fromkeys(one[0] for one in asked):
        ours = [one for one in asked if one[0] == entity]
        measures = list(dict.fromkeys(one[2] for one in ours))
        there = frame[entity].notna()
        keys = frame[entity][there].to_numpy().astype("S")
        values = {name: frame[name][there].to_numpy() for name in measures}
        events = tp.event_set(
            timestamps=seconds[there].to_numpy(),
            features={entity: keys, **values},
            indexes=[entity],
        )
        for _, _, measure, op, length_us in ours:
            values = events[measure]
            counted = values.filter(values.notnan()).lag(1e-6)
            _OPS[op](counted, window_length=length_us / 1e6, sampling=events)
    print(json.dumps({"events": len(frame)}))


_OPS = {
    "count": lambda events, **window: events.moving_count(**window),
    "rate": lambda events, **window: events.moving_count(**window),
    "sum": lambda events, **window: events.moving_sum(**window),
    "mean": lambda events, **window: events.simple_moving_average(**window),
    "min": lambda events, **window: events.moving_min(**window),
    "max": lambda events, **window: events.moving_max(**window),
}

if __name__ == "__main__":
    main()
