"""Parts of ``benchmarks/explain.py``."""
