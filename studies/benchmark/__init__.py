"""The parts of `studies/throughput.py`: models and data, each a function that returns rows."""
