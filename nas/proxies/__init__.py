"""How far the training-free scores can be trusted on a user's own space and data: short trainings, then statistics."""
