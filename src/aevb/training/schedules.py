"""Learning rate schedules that torch lacks, or that torch cannot extend beyond their end."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from aevb.types import Checked, Count, Fraction, Positive


class Burda(Checked, LambdaLR):
    """IWAE's schedule: stage i = 0 … stages − 1 lasts 3^i epochs, at the learning rate lr · 10^(−i/7).

    The learning rate of the last stage is kept.

    Source: Burda, Grosse & Salakhutdinov (2016), section 5; there lr = 0.001 and i = 0 … 7, 3280 epochs in all.

    Args:
        optimizer: Has the learning rates of stage 0.
        stages: Number of stages.
        growth: Ratio of the lengths of successive stages.
        decay: Ratio of the learning rates of successive stages.
    """

    def __init__(
        self, optimizer: Optimizer, stages: Count = 8, growth: Count = 3, decay: Positive = 10 ** (-1 / 7)
    ) -> None:
        self.stages = stages
        self.growth = growth
        self.decay = decay
        super().__init__(optimizer, self.factor)

    def factor(self, epoch: int) -> float:
        """The factor of the learning rate in an epoch, counted from 0."""
        stage, end = 0, 1
        while stage < self.stages - 1 and epoch >= end:
            stage += 1
            end += self.growth**stage
        return self.decay**stage


class OneCycle(Checked, LambdaLR):
    """Half a cosine from lr / div_factor up to lr, another down to lr / (div_factor · final_div_factor), once.

    The learning rates of torch's `OneCycleLR`, an epoch in place of a step, for a run of any length: after the last
    epoch the learning rate stays. Momentum is not cycled.

    Source: Smith & Topin, Super-convergence (2018), arXiv 1708.07120.

    Args:
        optimizer: Its learning rates are the highest.
        epochs: Of the cycle.
        warm_up: The part of the epochs in which the learning rate rises.
        div_factor: See above.
        final_div_factor: See above.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        epochs: Count = 100,
        warm_up: Fraction = 0.3,
        div_factor: Positive = 25.0,
        final_div_factor: Positive = 1e4,
    ) -> None:
        self.peak, self.last = max(0.0, warm_up * epochs - 1), epochs - 1
        self.lowest = 1 / div_factor, 1 / (div_factor * final_div_factor)
        super().__init__(optimizer, self.factor)

    def factor(self, epoch: int) -> float:
        """The factor of the learning rate in an epoch, from 0 on."""
        if epoch < self.peak:
            return cosine(self.lowest[0], 1.0, epoch / self.peak)
        length = self.last - self.peak
        return cosine(1.0, self.lowest[1], min(1.0, (epoch - self.peak) / length) if length > 0 else 1.0)


def cosine(start: float, end: float, position: float) -> float:
    """Half a cosine from `start` to `end`, at a position in [0, 1]."""
    return end + (start - end) * (1 + math.cos(math.pi * position)) / 2
