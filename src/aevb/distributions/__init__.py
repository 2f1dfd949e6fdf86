"""Distributions and divergences that torch.distributions lacks."""
