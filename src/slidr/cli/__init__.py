"""The command line, in the order of the flow."""
