"""Replay: decisions that were wrong are made again, supersede the wrong ones, and are settled down to the money.

*Rescore* puts the journalled rows through another bundle. It gives corrections: rows of DECISIONS that supersede those
that hold, and rows of ADJUSTMENTS for what is to be credited or charged. A person's review of a click is one too.
"""
