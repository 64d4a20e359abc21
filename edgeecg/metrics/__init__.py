"""Scores: EC57 beats and runs, rhythm, calibration, with bootstrap intervals over patients."""
