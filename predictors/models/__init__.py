"""Models that learn labels from features; each is a scikit-learn regressor."""
