"""What a card says of S without the record that has most of it."""

from __future__ import annotations

from typing import Any

from model_card import without_largest  # tools/


def group(title: str, records: dict[str, tuple[int, int, int]]) -> dict[str, Any]:
    rows = [
        {"record": name, "scores": {"S": dict(zip(("hits", "misses", "false"), counts, strict=True))}}
        for name, counts in records.items()
    ]
    return {
        "title": title,
        "beats": [
            {"mapping": "dechazal", "period": "after 5:00", "records": []},
            {"mapping": "dechazal", "period": "whole record", "records": rows},
        ],
    }


def test_the_largest_is_the_one_with_most_in_the_reference() -> None:
    """Not the one in which most was found, nor that with most false ones; those of others count."""
    groups = [
        group("mitdb", {"few": (30, 0, 0), "most": (20, 80, 5), "false": (0, 0, 10), "some": (10, 10, 0)}),
        group("svdb", {"a": (0, 0, 3), "b": (9, 1, 0)}),  # without b there is no S
        {"title": "cinc2017", "beats": []},
    ]
    assert list(without_largest(groups)) == [
        "- mitdb: S without most, which has most of it: F1 80.00 %"  # 2 x 40 of 2 x 40 + 10 + 10
    ]
