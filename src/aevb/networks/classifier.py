"""A network whose output is a class."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from aevb.errors import ConfigError
from aevb.networks.base import Backbone, Part, as_weights
from aevb.types import Size


class Classifier(Part):
    """q(y|x) = Categorical(y; softmax(W h(x) + b)), with a backbone h.

    Source: Kingma, Rezende, Mohamed & Welling (2014), Semi-supervised learning with deep generative models, eq. 4.

    Shapes: x (B, *data_shape) → batch (B,), classes 0 to num_classes − 1.

    Args:
        data_shape: Shape of one datapoint.
        num_classes: Number of classes.
        backbone: (data_shape) → backbone with an `out_shape` of one entry.
    """

    def __init__(self, data_shape: Sequence[int], num_classes: Size, backbone: Callable[..., Backbone]) -> None:
        super().__init__()
        self.backbone = backbone(data_shape)
        self.layer = nn.Linear(self.backbone.out_shape[0], num_classes)

    def follow(self, objective: Any) -> None:
        if not objective.hidden_conditions:
            raise ConfigError(
                f"objective {type(objective).__name__} does not train the classifier q(y|x) of the model; use "
                "objective=semi_supervised, or model=conditional"
            )

    def forward(self, x: Tensor) -> Categorical:
        logits: Any = self.layer(self.backbone(as_weights(x, self.backbone)))
        return Categorical(logits=logits.to(torch.promote_types(logits.dtype, torch.float32)), validate_args=False)
