"""The state of the features in Redis, shared by any number of processes.

Redis keeps, for each entity, its record and the clicks since; the process reads both in the call that adds its own
clicks, and runs the one fold over them. `library.lua` says how a value is laid out.
"""
