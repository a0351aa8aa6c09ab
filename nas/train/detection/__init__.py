"""A small anchor-free detector: data, network, targets, losses, training and average precision."""
