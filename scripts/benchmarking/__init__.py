"""What `scripts/benchmark.py` measures: the textbook forms, the cases, the clock, the memory, the rows, and how cost grows."""
