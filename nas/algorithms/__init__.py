"""Search algorithms: each proposes candidates through ask and learns through tell."""
