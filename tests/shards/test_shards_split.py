"""Splits: a frozen hash of the object id, 80/10/10 (law 16: stable whatever else happens)."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from daep_ray.shards.split import SPLITS, hash_of, split_of


def test_split_of_known_objects_is_frozen():
    # changing the hash would move objects from test to train in every survey that exists
    known = {
        "sn1999aa": "test",
        "sn2011fe": "train",
        "sn2005a": "validation",
        "sn2032a": "validation",
    }
    assert {name: split_of(name) for name in known} == known


def test_shares_are_80_10_10():
    num = 50_000
    counts = Counter(split_of(f"object {i}") for i in range(num))
    for split, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        five_sigma = 5 * (share * (1 - share) / num) ** 0.5
        assert abs(counts[split] / num - share) < five_sigma


@given(st.text())
def test_hash_is_64_bits_of_any_text(text):
    assert 0 <= hash_of(text) < 2**64
    assert split_of(text) in SPLITS
