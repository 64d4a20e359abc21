"""Mappings of symbols to labels, and what a record's annotations say."""

from __future__ import annotations

import numpy as np
import pytest

from edgeecg.data.labels import BXB, DE_CHAZAL, reference_of, rhythm_intervals
from edgeecg.io import BEAT_SYMBOLS, Annotations, Record


def record(*marks: tuple[int, str, str], n: int = 1000) -> Record:
    samples, symbols, aux = zip(*marks, strict=True) if marks else ((), (), ())
    return Record("r", np.zeros((n, 1)), 100.0, ("II",), Annotations(samples, symbols, aux))


@pytest.mark.parametrize(
    ("symbols", "primary", "bxb"),
    [
        ("NLRB", "N", "N"),
        ("ejn", "N", "S"),
        ("AaJS", "S", "S"),
        ("VEr", "V", "V"),
        ("F", "F", "F"),
        ("/f", "P", "Q"),
        ("Q?", "Q", "Q"),
    ],
)
def test_the_two_mappings(symbols: str, primary: str, bxb: str) -> None:
    assert {DE_CHAZAL[s] for s in symbols} == {primary}
    assert {BXB[s] for s in symbols} == {bxb}


def test_every_beat_symbol_is_mapped_and_nothing_else() -> None:
    assert set(DE_CHAZAL) == set(BXB) == set(BEAT_SYMBOLS)


def test_a_reference_has_beats_rhythms_and_p_waves() -> None:
    reference = reference_of(
        record(
            (18, "+", "(N"), (20, "N", ""), (100, "A", ""), (150, "~", ""), (190, "p", ""), (200, "/", ""),
            (300, "+", "(AFIB"), (310, "V", ""), (500, "+", "(N"), (600, "e", ""),
        )
    )  # fmt: skip
    assert reference.beats.tolist() == [20, 100, 200, 310, 600]
    assert reference.labels.tolist() == ["N", "S", "P", "V", "N"]
    assert reference.rhythms == ((0, 300, "N"), (300, 500, "AFIB"), (500, 1000, "N"))
    assert reference.p_waves.tolist() == [190]
    assert reference.masked == ()


def test_another_mapping_and_unchecked_classes() -> None:
    marks = record((1, "e", ""), (2, "V", ""))
    assert reference_of(marks, BXB).labels.tolist() == ["S", "V"]
    assert reference_of(marks, classed=False).labels.tolist() == ["Q", "Q"]


def test_no_rhythm_annotated_is_not_a_normal_rhythm() -> None:
    assert reference_of(record((1, "N", ""))).rhythms == ()
    assert reference_of(Record("r", np.zeros((9, 1)), 100.0, ("II",))).beats.tolist() == []


def test_flutter_and_fibrillation_stay_apart_and_old_names_are_known() -> None:
    marks = Annotations([0, 10, 20, 30], ["+"] * 4, ["(AFL", "(AFIB", "(AF\0", "(NOD"])
    assert rhythm_intervals(marks, 40) == (
        (0, 10, "AFL"),
        (10, 20, "AFIB"),
        (20, 30, "AFIB"),
        (30, 40, "NOD"),
    )


def test_a_first_mark_speaks_of_the_start_only_where_it_is_near() -> None:
    marks = Annotations([700, 900], ["+"] * 2, ["(AFIB", "(N"])
    assert rhythm_intervals(marks, 1000) == ((700, 900, "AFIB"), (900, 1000, "N"))
    assert rhythm_intervals(marks, 1000, opening=700) == ((0, 900, "AFIB"), (900, 1000, "N"))
    near, far = record((400, "+", "(AFIB"), n=4000), record((2000, "+", "(AFIB"), n=4000)
    assert reference_of(near).rhythms == ((0, 4000, "AFIB"),), "four seconds: the first beat"
    assert reference_of(far).rhythms == ((2000, 4000, "AFIB"),), "twenty: an episode that begins"


def test_ventricular_flutter_is_masked() -> None:
    marks = record((10, "[", ""), (15, "!", ""), (20, "]", ""), (30, "[", ""))
    assert reference_of(marks).masked == ((10, 20), (30, 1000))
