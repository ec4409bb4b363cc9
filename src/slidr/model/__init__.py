"""Models: networks that score how robotic a row of features is."""
