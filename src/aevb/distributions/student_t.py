"""Student's t-distribution, faster where all values share their degrees of freedom."""

from torch import Tensor
from torch.distributions import StudentT as TorchStudentT


class StudentTDistribution(TorchStudentT):
    """torch's distribution for one ν (a scalar tensor), whose gamma functions are computed once."""

    def __init__(self, df: Tensor, loc: Tensor, scale: Tensor) -> None:
        super().__init__(df, loc, scale, validate_args=False)
        self.standard = TorchStudentT(df, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.standard.log_prob((value - self.loc) / self.scale) - self.scale.log()
