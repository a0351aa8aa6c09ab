"""netwright: search networks under a latency budget, train, export and verify them."""
