"""The choice of a predictor by data."""
