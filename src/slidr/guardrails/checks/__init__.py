"""One file, one guardrail: the file's name is the guardrail's."""
