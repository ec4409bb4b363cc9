"""Stories: one module an incident, with a docstring whose first line tells of it and `play(stage)`."""
