"""The mean of importance weights given as logarithms, accumulated chunk by chunk."""

import math

import torch
from torch import Tensor


class LogWeights:
    """Running sums of weights w and of w², given as log w, for each datapoint; `count` is their number K."""

    def __init__(self) -> None:
        self.count = 0
        self.log_sum = torch.tensor(-math.inf)
        self.log_sum_of_squares = torch.tensor(-math.inf)

    def add(self, log_weights: Tensor) -> None:
        """Add a part of the log-weights, (S, B)."""
        log_weights = log_weights.double()
        self.count += len(log_weights)
        self.log_sum = torch.logaddexp(self.log_sum.to(log_weights), log_weights.logsumexp(0))
        squares = (2 * log_weights).logsumexp(0)
        self.log_sum_of_squares = torch.logaddexp(self.log_sum_of_squares.to(squares), squares)

    @property
    def log_mean(self) -> Tensor:
        """log 1/K Σ_k w_k, (B,)."""
        return self.log_sum - math.log(self.count)

    @property
    def effective_sample_size(self) -> Tensor:
        """(Σ_k w_k)² / Σ_k w_k², between 1 and K, (B,)."""
        return (2 * self.log_sum - self.log_sum_of_squares).exp()

    @property
    def variance(self) -> Tensor:
        """Of `log_mean`, by the delta method: Var(w) / (K E[w]²), (B,); infinite for K = 1."""
        if self.count == 1:
            return torch.full_like(self.log_sum, math.inf)
        relative = self.count / self.effective_sample_size - 1
        return relative.clamp(min=0) / (self.count - 1)
