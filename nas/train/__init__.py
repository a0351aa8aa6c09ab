"""Datasets, the training loop and the short trainings of the finalists."""
