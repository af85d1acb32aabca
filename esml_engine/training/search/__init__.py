"""How a model is found: the portfolio, FLAML, a user's own train.py, and what must not be learned from."""
