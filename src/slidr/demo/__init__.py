"""The demo: the whole loop on simulated traffic or on a log, through the same functions as every other run."""
