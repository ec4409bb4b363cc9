"""The lake: the door that admits raw logs, Arrow schemas, and the Delta tables that slidr writes."""
