"""Calibration: from scores to thresholds that keep a false-positive budget."""
