"""Which networks to train next, so that a predictor of their accuracy is soon good where it matters."""
