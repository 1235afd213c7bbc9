# SPDX-License-Identifier: MIT
"""What torch.save and torch.jit.save write, read without torch and without the pickle module.

zip.py      checkpoints since PyTorch 1.6, which are zip archives; tensors and storages
rebuild.py  what the pickles of all three call: tensors and storages
stream.py   checkpoints before, which are pickles and storages one after the other
script.py   TorchScript archives; frozen.py  those that are frozen
packed.py   dynamically quantised models
pt2.py      exported programs
nested.py   checkpoints that are records of other archives, such as Stable-Baselines3's
"""
