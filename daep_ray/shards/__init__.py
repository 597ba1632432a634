"""Samples <-> Parquet shards with a manifest: writing, reading, splitting, validating."""
