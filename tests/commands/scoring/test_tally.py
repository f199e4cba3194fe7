"""Tallies merge exactly, keep a bounded number of rows, and are stored without loss."""

import json
import math
import random
from fractions import Fraction
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_upsampling.commands.scoring import tally as module
from keras_upsampling.commands.scoring.shares import ALL, Share, part_of
from keras_upsampling.commands.scoring.states import state_text, tally_of
from keras_upsampling.commands.scoring.tally import Failure, Row, Settings, Tally

SETTINGS = Settings("0", (2, 2), None, True)
PATH = "/images"


def at_most(number):
    """Keep that number of rows and failures instead of 1000."""
    return mock.patch.object(module, "MOST", number)


def row(number, db=0.0, amplitude=1.0, detected=False, stride=1):
    return Row(f"{number}.png", (24, 24, 1), 255.0, db, amplitude, 1.0, 0.5, detected, stride)


def tally_from(rows, share=ALL, failures=0, path=PATH):
    tally = Tally(SETTINGS, [part_of([path], share)])
    for one in rows:
        tally.add(one)
    for number in range(failures):
        tally.add(Failure(f"{number}.npy", "why"))
    return tally


# Few different values, so that rows tie; and magnitudes at which sums of floats are rounded.
ROWS = st.builds(
    lambda db, amplitude, detected, stride: (db, amplitude, detected, stride),
    st.sampled_from([-300.0, -1.5, 0.0, 0.1, 3.3, 135.7, 380.0]) | st.floats(-50, 150),
    st.floats(0, 1e3),
    st.booleans(),
    st.sampled_from([1, 2, 6]),
)


@given(st.lists(ROWS, max_size=25), st.randoms(use_true_random=False), st.integers(1, 12))
def test_any_partition_gives_what_one_run_gives(values, rng, limit):
    rows = [row(number, *value) for number, value in enumerate(values)]
    parts = [[] for _ in range(rng.randint(1, 5))]
    for one in rows:
        rng.choice(parts).append(one)
    numbered = list(enumerate(parts, 1))
    rng.shuffle(numbered)
    with at_most(limit):
        whole = tally_from(rows)
        merged = Tally(SETTINGS, [])
        for number, part in numbered:
            share = Share(number, len(parts))
            merged.merge(tally_of(state_text(tally_from(part, share))))
        assert merged.summary() == whole.summary()
        # A logarithm would hide differences in the last digits.
        assert (merged.ratios, merged.squares) == (whole.ratios, whole.squares)
        if len(rows) > limit:
            assert merged.rows() == whole.rows()
        else:
            assert sorted(merged.rows()) == sorted(whole.rows())
    assert merged.missing() == whole.missing() == []


@given(st.lists(ROWS, min_size=1, max_size=25))
def test_the_summary_is_that_of_exact_sums(values):
    tally = tally_from([row(i, *value) for i, value in enumerate(values)])
    assert tally.ratios == sum(Fraction(10 ** (db / 10)) for db, *_ in values)
    assert tally.squares == sum(Fraction((amplitude / 255) ** 2) for _, amplitude, *_ in values)
    summary = tally.summary()
    ratio = math.fsum(10 ** (db / 10) for db, *_ in values) / len(values)
    square = math.fsum((amplitude / 255) ** 2 for _, amplitude, *_ in values) / len(values)
    assert summary.pop("db") == pytest.approx(10 * math.log10(ratio), rel=1e-14, abs=1e-13)
    assert summary.pop("relative_amplitude") == pytest.approx(square**0.5, rel=1e-14)
    strides = [stride for *_, stride in values]
    assert summary == {
        "images": len(values),
        "failures": 0,
        "detection_rate": sum(detected for _, _, detected, _ in values) / len(values),
        "strides": {str(stride): strides.count(stride) for stride in sorted(set(strides))},
    }


def test_a_sum_of_floats_would_depend_on_the_partition():
    # 1e16 + 1 is 1e16 as a float: the exact sums must not lose the small ones.
    ratios = [1e16, 1.0, 1.0, 1.0, 1.0]
    parts = [
        tally_from([row(i, 10 * math.log10(ratio))], path=f"/{i}") for i, ratio in enumerate(ratios)
    ]
    for part in parts[1:]:
        parts[0].merge(part)
    assert parts[0].summary()["db"] == pytest.approx(10 * math.log10((1e16 + 4) / 5), rel=1e-16)
    assert float(parts[0].ratios) - 10 ** (10 * math.log10(1e16) / 10) == 4


@given(st.lists(ROWS, max_size=40), st.integers(1, 7))
def test_the_strongest_are_kept_and_come_first(values, limit):
    rows = [row(number, *value) for number, value in enumerate(values)]
    with at_most(limit):
        kept = tally_from(rows).rows()
    if len(rows) <= limit:
        assert kept == rows
        return
    assert len(kept) == limit
    strengths = [(one.detected, one.db) for one in kept]
    assert strengths == sorted(strengths, reverse=True)
    left_out = [(one.detected, one.db) for one in rows if one not in kept]
    assert min(strengths) >= max(left_out)


def test_what_is_kept_is_bounded():
    rng = random.Random(0)
    with at_most(10):
        tally = tally_from([])
        for number in range(5000):
            tally.add(row(number, rng.uniform(-5, 30)))
            tally.add(Failure("x", "why"))
            assert len(tally.kept) <= 20
            assert len(tally.failures) <= 10
        assert (tally.images, tally.failed) == (5000, 5000)
        assert len(state_text(tally)) < 10_000


def test_a_state_is_read_as_it_was_written():
    rows = [row(i, i / 7, detected=i == 2) for i in range(9)]
    tally = tally_from(rows, Share(2, 3), failures=7)
    tally.interrupted = True
    again = tally_of(state_text(tally))
    assert state_text(again) == state_text(tally)
    assert again.summary() == tally.summary()
    assert (again.settings, again.parts) == (tally.settings, tally.parts)
    assert (again.interrupted, again.failures) == (True, tally.failures)
    assert again.rows() == rows


def test_any_damage_is_noticed():
    text = state_text(tally_from([row(i, i / 7) for i in range(3)], failures=1))
    assert tally_of(text).images == 3
    for place in range(0, len(text), 5):
        letter = "8" if text[place] != "8" else "9"
        for damaged in (text[:place], text[:place] + letter + text[place + 1 :]):
            with pytest.raises(ValueError, match=r"Received|damaged"):
                tally_of(damaged)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a state"),
        ("[" * 10_000, "expected a state"),
        ("[1, 2]", "expected a state"),
        (json.dumps({"summary": {}, "results": []}), "expected a state"),
        ('{"format": "keras_upsampling.score.state", "version": 2}', "Received: version 2"),
        ('{"format": "keras_upsampling.score.state", "version": 1}', "is damaged"),
    ],
)
def test_other_files_are_no_states(text, message):
    with pytest.raises(ValueError, match=message):
        tally_of(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [("version", "1"), ("size", (2, 4)), ("data_range", 255.0), ("detect_stride", False)],
)
def test_other_settings_are_not_merged(field, value):
    other = Tally(SETTINGS._replace(**{field: value}), [])
    with pytest.raises(ValueError, match=rf"Expected: {field}=.*Received: {field}="):
        Tally(SETTINGS, []).merge(other)


def test_a_tally_that_is_not_merged_changes_nothing():
    first = tally_from([row(1)], Share(1, 3))
    with pytest.raises(ValueError, match="share 1/3"):
        first.merge(tally_from([row(2)], Share(1, 3)))
    first.merge(tally_from([row(2)], Share(2, 3)))
    assert first.images == 2
    assert first.missing() == ["share 3/3 is missing of the images at '/images'"]
