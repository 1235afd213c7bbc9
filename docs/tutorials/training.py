# SPDX-License-Identifier: MIT
"""# Training faster with one line

`fastlstm.torch.accelerate(model)` makes every `nn.LSTM`, `nn.GRU` and `nn.RNN` of a PyTorch model
run and train on this engine. Nothing else of the program changes: optimizers, hooks, checkpoints,
`state_dict` and DDP see the same modules and parameters.

```sh
pip install "fastlstm[torch]"
```

## A model and a task

The adding problem: of fifty numbers two are marked, and their sum is the answer.
"""

import time

import torch

import fastlstm.torch

torch.manual_seed(0)


class Adder(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(2, 64)
        self.head = torch.nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.lstm(x)
        answer: torch.Tensor = self.head(y[-1])
        return answer.squeeze(-1)


def batch(steps: int = 50, rows: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    numbers, marks = torch.rand(steps, rows), torch.zeros(steps, rows)
    for row in range(rows):
        marks[torch.randperm(steps)[:2], row] = 1
    return torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(0)


def train(model: torch.nn.Module, updates: int) -> list[float]:
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(updates):
        x, answer = batch()
        loss = torch.nn.functional.mse_loss(model(x), answer)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# %% ## One line

model = Adder()
print(fastlstm.torch.accelerate(model), "module runs here")
print(f"loss after 10 updates: {train(model, 10)[-1]:.3f}")

# %% The gradients are those of PyTorch within rounding:

x, answer = batch()
gradients = {}
for name, change in (("ours", fastlstm.torch.accelerate), ("torch", fastlstm.torch.restore)):
    change(model)
    model.zero_grad()
    torch.nn.functional.mse_loss(model(x), answer).backward()
    gradient = model.get_parameter("lstm.weight_hh_l0").grad
    assert gradient is not None
    gradients[name] = gradient.clone()
difference = (gradients["ours"] - gradients["torch"]).abs().max() / gradients["torch"].abs().max()
print(f"largest difference of a gradient: {difference:.1e} of the largest")
assert difference < 1e-4

# %% ## Is it faster?
#
# It depends on the shape, and for some it is slower. Of all LSTM shapes that were measured, a step
# through PyTorch's autograd ran at 0.76 to 1.41 times PyTorch's speed, on arrays without PyTorch at
# 0.83 to 2.32; GRU and RNN at 1.25 to 7.9 times through autograd
# ([every figure](../../benchmarks/README.md)). Measure yours, both by turns:

for name, change in (("torch", fastlstm.torch.restore), ("ours", fastlstm.torch.accelerate)) * 2:
    change(model)
    train(model, 1)
    begin = time.perf_counter()
    train(model, 5)
    print(f"{name:5} {(time.perf_counter() - begin) * 200:.1f} ms an update")

# %% ## Inference of a model whose weights stay
#
# Weights may change in any way between calls, so each call compares them with those it has packed.
# Promise that they do not, and that time is saved: for one step of one row it is most of it.

model.eval()
fastlstm.torch.freeze(model)
with torch.no_grad():
    model(x)

# %% ## Back again
#
# `restore` makes them torch.nn's modules again. A saved `state_dict` never knew the difference.

fastlstm.torch.restore(model)
assert type(model.lstm) is torch.nn.LSTM

# %% What runs here and what in PyTorch (other dtypes, torch.compile, vmap ...) is in
# [PyTorch models, in full](../torch.md). Training without PyTorch at all:
# [examples/train_numpy.py](../../examples/train_numpy.py), with `forward_train` and `backward`.
