"""The label rules: a file each, found by its name.

A rule is a module with one function,

    human(clicks: pa.Table, purchases: pa.Table, *, as_of: int, settings: LabelsSettings) -> bool[n]

which sees only purchases known as of a time.
"""
