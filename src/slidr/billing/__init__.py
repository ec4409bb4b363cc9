"""Billing: what clicks are charged, by verdict, and what is frozen at the end of a month."""
