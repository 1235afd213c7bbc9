# SPDX-License-Identifier: MIT
"""What the figures were measured on: processor, versions, settings, and the limits of one core."""

from __future__ import annotations

import os
import platform

from .environment import UNSET

SETTINGS = ("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "ORT_", "OV_", "FASTLSTM_")


def cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_count() -> int:
    """The CPUs this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def describe(peers, threads: int) -> dict:
    """Everything that belongs beside a table of figures."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "cpu": cpu_name(),
        "cpus": cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "peers": {name: module.version() for name, module in peers.items()},
        "isa": default_isa() if "fastlstm" in peers else None,
        "threads": threads,
        "load": round(load, 2),
        "settings": {k: v for k, v in sorted(os.environ.items()) if k.startswith(SETTINGS)},
        "unset": sorted(UNSET),
    }


def line(facts: dict) -> str:
    """One line for people."""
    parts = [
        facts["cpu"],
        f"{facts['cpus']} CPUs, {facts['threads']} thread{'s' * (facts['threads'] > 1)}",
        f"Python {facts['python']}",
        *(f"{name} {version}" for name, version in facts["peers"].items()),
    ]
    if facts["isa"]:
        parts.append(f"isa {facts['isa']}")
    if facts.get("peak_gflops"):
        parts.append(f"FMA peak {facts['peak_gflops']:.0f} GFLOP/s a core")
    parts.append(f"load {facts['load']}")
    parts += [f"{k}={v}" for k, v in facts["settings"].items()]
    if facts["unset"]:
        parts.append("unset: " + ", ".join(facts["unset"]))
    return "; ".join(parts)


def default_isa() -> str:
    """The instruction set fastlstm takes when none is named."""
    import fastlstm

    return fastlstm.config_dict()["isa"]


class Limits:
    """The FMA peak and the read bandwidth of one core, measured through the extension.

    Both are None without the extension's hooks (another backend, or an older build), and the
    columns that need them are left out.
    """

    def __init__(self, present: bool):
        self._core = None
        self.isa = None
        self._bandwidths: dict[int, float] = {}
        if present:
            from fastlstm import _core

            if hasattr(_core, "fma_peak"):
                self._core = _core
                self.isa = default_isa()

    def peak(self, seconds: float = 0.05) -> float | None:
        """GFLOP/s of one core at f32 multiply-adds, now."""
        return self._core.fma_peak(self.isa, seconds) if self._core else None

    def bandwidth(self, size: int, seconds: float = 0.03) -> float | None:
        """GB/s of one core reading `size` bytes again and again: the best of this run so far."""
        if not hasattr(self._core, "read_bandwidth"):
            return None
        now = self._core.read_bandwidth(size, seconds)
        self._bandwidths[size] = max(now, self._bandwidths.get(size, 0.0))
        return self._bandwidths[size]

    def measured(self) -> dict[int, float]:
        """{bytes: GB/s} of this run."""
        return dict(self._bandwidths)

    def floor_seconds(self, shape, peak) -> float | None:
        """The least time one core can take for a batch of one.

        The input product runs at the FMA peak; the recurrent one reads 16 H^2 bytes for each step,
        at the bandwidth of wherever they lie.
        """
        if not peak or shape.B != 1:
            return None
        size = 16 * shape.H * shape.H
        bandwidth = self.bandwidth(size)
        if not bandwidth:
            return None
        seconds = 0.0
        for width in shape.layer_inputs:
            work = 8 * shape.H * width / (peak * 1e9)
            reads = max(size / (bandwidth * 1e9), 8 * shape.H * shape.H / (peak * 1e9))
            seconds += shape.D * shape.T * (work + reads)
        return seconds
