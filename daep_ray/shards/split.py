"""Which split an object belongs to: a stable hash of its id, whatever the order or the sharding."""

import hashlib

SPLITS = ("train", "validation", "test")
_TRAIN, _VALIDATION = 0.8, 0.1  # the rest is test


def hash_of(text: str) -> int:
    """64 bits of a text, the same on every machine and in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def split_of(object_id: str) -> str:
    """`train` (80 %), `validation` (10 %) or `test` (10 %), decided by the object's id alone."""
    place = hash_of(object_id) / 2**64
    if place < _TRAIN:
        return "train"
    return "validation" if place < _TRAIN + _VALIDATION else "test"
