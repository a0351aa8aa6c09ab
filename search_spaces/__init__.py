"""Search spaces: architectures as data, and everything that turns them into layers and networks."""
