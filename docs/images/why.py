"""Draws docs/images/why-strip.png: why the packaged bundle says V of a beat of mitdb's record 119.

Run it as ``EDGEECG_DATA=DIR python docs/images/why.py``.
"""

from __future__ import annotations

from pathlib import Path

from edgeecg import read_record
from edgeecg.data.catalog import data_root
from edgeecg.explain import explain
from edgeecg.explain.figures import strip_figure

BEAT = 173035


def main() -> None:
    why = explain(read_record(data_root() / "mitdb" / "119"), BEAT, change=False)
    strip_figure(why).savefig(Path(__file__).with_name("why-strip.png"))


if __name__ == "__main__":
    main()
