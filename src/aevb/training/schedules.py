"""How the step size changes along training: factors of `optimizer.lr` by the epoch."""

from aevb.checks import number, whole_number


class Burda:
    """IWAE's schedule: stage i = 0 … stages − 1 lasts 3^i epochs, at the step size lr · 10^(−i/7).

    After the last stage its step size stays. A function of the epoch alone, so that there is nothing to save.

    Source: Burda, Grosse & Salakhutdinov (2016), section 5; there lr = 0.001 and i = 0 … 7, 3280 epochs in all.

    Args:
        stages: How many.
        growth: How many times as long as the one before it a stage is.
        decay: By what each stage's step size is multiplied to give that of the next.

    Raises:
        ValueError: a setting is out of its range.
    """

    def __init__(self, stages: int = 8, growth: int = 3, decay: float = 10 ** (-1 / 7)) -> None:
        self.stages = whole_number(stages, "schedule.stages")
        self.growth = whole_number(growth, "schedule.growth")
        self.decay = number(decay, "schedule.decay", above=0)

    def __call__(self, epoch: int) -> float:
        """The factor of the step size in an epoch, from 0 on."""
        stage, end = 0, 1
        while stage < self.stages - 1 and epoch >= end:
            stage += 1
            end += self.growth**stage
        return self.decay**stage
