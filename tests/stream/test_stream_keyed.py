"""Keyed random numbers: functions of their key alone."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from daep_ray.stream.keyed import element_bits, normal, permutation, stream_keys, string_keys


@given(st.lists(st.text(max_size=12), max_size=20), st.data())
def test_a_string_has_one_key_wherever_it_stands(words: list[str], data: st.DataObject):
    whole = string_keys(pa.array(words, pa.string()))
    begin = data.draw(st.integers(0, len(words)))
    part = string_keys(pa.array(words, pa.string()).slice(begin))
    chunked = string_keys(pa.chunked_array([words[:begin], words[begin:]], pa.string()))
    assert np.array_equal(whole[begin:], part)
    assert np.array_equal(whole, chunked)
    assert len(set(whole.tolist())) == len(set(words))


def test_keys_never_change_between_versions():
    """Checkpoints resume on these numbers."""
    assert string_keys(pa.array(["sn1999aa", ""])).tolist() == [16348301410902786161, 0]
    assert permutation(6, 1, 2, 3).tolist() == [1, 3, 5, 2, 0, 4]


def test_anagrams_and_prefixes_have_their_own_keys():
    words = ["ab", "ba", "a", "b", "aab", "aba", "ab\0", "\0ab"]
    assert len(set(string_keys(pa.array(words)).tolist())) == len(words)


def test_normals_are_normal_and_neighbours_are_independent():
    keys = stream_keys(string_keys(pa.array([f"s{i}" for i in range(200)])), 3, 1, "x")
    index = np.arange(500)
    drawn = normal(
        element_bits(keys[:, None], index[None], 0), element_bits(keys[:, None], index[None], 1)
    )
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-3
    along = np.corrcoef(drawn[:, 1:].ravel(), drawn[:, :-1].ravel())[0, 1]
    across = np.corrcoef(drawn[1:].ravel(), drawn[:-1].ravel())[0, 1]
    assert abs(along) < 4 / np.sqrt(drawn.size)
    assert abs(across) < 4 / np.sqrt(drawn.size)


def test_streams_differ_by_seed_turn_and_name():
    keys = string_keys(pa.array(["a", "b"]))
    streams = [(1, 0, "x"), (2, 0, "x"), (1, 1, "x"), (1, 0, "y")]
    seen = {tuple(stream_keys(keys, *s).tolist()) for s in streams}
    assert len(seen) == len(streams)


def test_a_permutation_holds_each_place_once():
    assert np.array_equal(np.sort(permutation(1000, 5)), np.arange(1000))
    assert not np.array_equal(permutation(1000, 5), permutation(1000, 6))
