"""A moving average of a module's weights and statistics: steadier than its last step, so it is what is kept."""

from __future__ import annotations

import copy

import torch

from model_wrappers.darknet.training.module import DarknetModule


class AveragedModule:
    """``module`` is the average. Early steps count more: the decay rises with (1 + n) / (10 + n) up to its limit."""

    def __init__(self, module: DarknetModule, decay: float) -> None:
        self.module = copy.deepcopy(module).eval()
        self.module.requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, module: DarknetModule) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        fresh = module.state_dict()
        for name, kept in self.module.state_dict().items():
            if kept.dtype.is_floating_point:
                kept.lerp_(fresh[name], 1 - decay)
            else:
                kept.copy_(fresh[name])
