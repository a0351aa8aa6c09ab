"""How accurate a network will be: training-free proxies and predictors."""
