"""Learning rate schedules that torch lacks."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from aevb.types import Checked, Count, Positive


class Burda(Checked, LambdaLR):
    """IWAE's schedule: stage i = 0 … stages − 1 lasts 3^i epochs, at the learning rate lr · 10^(−i/7).

    After the last stage the learning rate stays.

    Source: Burda, Grosse & Salakhutdinov (2016), section 5; there lr = 0.001 and i = 0 … 7, 3280 epochs in all.

    Args:
        optimizer: Its learning rates are those of stage 0.
        stages: Their number.
        growth: Ratio of the lengths of a stage and the one before it.
        decay: Ratio of the learning rates of a stage and the one before it.
    """

    def __init__(
        self, optimizer: Optimizer, stages: Count = 8, growth: Count = 3, decay: Positive = 10 ** (-1 / 7)
    ) -> None:
        self.stages = stages
        self.growth = growth
        self.decay = decay
        super().__init__(optimizer, self.factor)

    def factor(self, epoch: int) -> float:
        """The factor of the learning rate in an epoch, from 0 on."""
        stage, end = 0, 1
        while stage < self.stages - 1 and epoch >= end:
            stage += 1
            end += self.growth**stage
        return self.decay**stage
