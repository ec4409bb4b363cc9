"""Daily: the flow from clicks and purchases to a published bundle, one function a stage.

    label -> backfill -> train -> calibrate -> judge -> publish

Stages meet only in the lake, so that one can be run again alone. The demo and the command line call these functions.
"""
