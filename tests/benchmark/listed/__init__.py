"""A written list of runs, what they have measured, and what is drawn from it: ``tests/benchmark/tables.py``."""
