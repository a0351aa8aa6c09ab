"""Trainings of a few dozen networks or recipes, each for itself: here or under Ray Tune, with checkpoints."""
