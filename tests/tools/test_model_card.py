"""What a card says of S without its largest record, and of the networks that it is about."""

from __future__ import annotations

from typing import Any

import model_card  # tools/
import pytest
from model_card import KEPT, MODELS, networks, without_largest


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


@pytest.mark.parametrize("preset", KEPT)
def test_a_card_names_the_networks_of_its_figures(preset: str) -> None:
    assert networks(preset).strip() in (MODELS / f"{preset}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("preset", "kept", "told"),
    [
        ("small", "small-1-five", "2,358 of the first stage's 4,412 steps, all 5 stages"),
        ("small", "small-1-four", "the first 4 of 5 stages"),
        ("micro", "micro-four", "(seed 0, the first 4 of 5 stages)"),
        ("nano", "nano-four", "(seed 0, all 4 stages)"),  # it is shipped as the fourth left it
    ],
)
def test_a_card_says_what_its_networks_lack(
    preset: str, kept: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(model_card.KEPT, preset, kept)
    assert told in networks(preset)
