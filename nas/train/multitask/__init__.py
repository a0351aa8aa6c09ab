"""Training of one network for several tasks: data, losses, scores, networks with a head for each task."""
