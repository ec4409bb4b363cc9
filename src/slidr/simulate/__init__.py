"""The simulator: people, robots and purchases whose truth is known."""
