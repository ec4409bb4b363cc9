"""Skew: the rows that the service journalled beside those that a reference gives for the same clicks.

The reference is the lake, where backfill folded the log in the order of time, or the journal itself, folded again in
the order of its sequences: the first shows what training saw otherwise, the second what the store lost or doubled.
"""
