"""Exact search: the best networks under any budgets, with a certificate, from what every choice adds and costs."""
