"""Draws docs/images/strip.png: the packaged bundle on a recording that it was not trained on.

Run it as ``EDGEECG_DATA=DIR python docs/images/strip.py``.
"""

from __future__ import annotations

from pathlib import Path

from edgeecg import open_engine, read_record
from edgeecg.cli.strip import busiest, draw_strip
from edgeecg.data.catalog import data_root
from edgeecg.pipeline import annotate
from edgeecg.specs import Beat

SECONDS = 10.0


def main() -> None:
    recording = next(path for path in sorted((data_root() / "polar_h10").iterdir()) if path.suffix == ".hea")
    record = read_record(recording)
    with open_engine("small") as engine:
        events = annotate(engine, record)
    beats = [event for event in events if isinstance(event, Beat)]
    start = busiest(beats, len(record), round(SECONDS * record.fs))
    draw_strip(record, events, Path(__file__).with_suffix(".png"), start=start, title="Polar H10")


if __name__ == "__main__":
    main()
