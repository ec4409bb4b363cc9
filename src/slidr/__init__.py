"""slidr decides in real time whether an ad click was made by a human or by a robot."""
