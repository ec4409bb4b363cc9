"""Calibration methods: each module has `fit(sample, settings)`, which returns a ranking."""
