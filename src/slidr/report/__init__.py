"""Reports: what the numbers say, for people."""
