"""Labelled records by name, and their scores: EC57 beats and runs, rhythm, calibration."""
