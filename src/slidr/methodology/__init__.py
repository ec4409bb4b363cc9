"""Methodology: what a bundle does, described for those who rely on its figures."""
