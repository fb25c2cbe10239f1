"""Benchmarks: what Kheish costs, against the real daemon over loopback, with fsync on.

`python -m bench [NAME…]` prints one table a benchmark and writes a JSON file a run into `bench/results/`. Each measures
its floor in the same run: what the same machine does at that moment without Kheish. Ratios are comparable between
machines, absolute figures are not. May import everything; nothing imports it.
"""
