"""Noise schedules and samplers; nothing here knows the shape of the data."""
