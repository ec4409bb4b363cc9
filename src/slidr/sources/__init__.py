"""Sources: one module an adapter; each reads one kind of log into our columns."""
