# SPDX-License-Identifier: MIT
"""What torch.save and TorchScript write: zip archives since PyTorch 1.6, streams before."""
