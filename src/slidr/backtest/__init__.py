"""Backtest: what other false-positive budgets would have refunded in the past, each day judged by days before it."""
