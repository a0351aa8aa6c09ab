"""Training-free scores of a network."""
