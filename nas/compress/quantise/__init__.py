"""Post-training quantisation: from a float network and a few hundred images without labels to integers."""
