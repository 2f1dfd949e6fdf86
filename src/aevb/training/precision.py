"""The precision of float32 matrix products."""

from typing import Literal

import torch

MatmulPrecision = Literal["auto", "highest", "high", "medium"]


def set_matmul_precision(precision: MatmulPrecision, trainer_precision: str | int) -> None:
    """Set torch's precision of the products of float32 matrices, on devices with shorter formats.

    `auto` is float32 (`highest`), except where `trainer.precision` has products computed in 16 bits: there TF32
    (`high`) for the others, which is more precise than those.
    """
    if precision == "auto":
        precision = "high" if str(trainer_precision).startswith(("16", "bf16")) else "highest"
    torch.set_float32_matmul_precision(precision)
