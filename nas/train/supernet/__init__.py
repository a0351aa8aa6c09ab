"""Training of weight-sharing supernets: recipes, samplers, the loop, files, and data-parallel workers."""
