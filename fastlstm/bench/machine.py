# SPDX-License-Identifier: MIT
"""What the figures were measured on: processor, versions, settings, and the limits of its cores."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import fastlstm

SETTINGS = ("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "ORT_", "OV_", "FASTLSTM_")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
MOST_PROBED = 512 << 20  # bytes that a bandwidth probe may take


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


def cache_sizes(folder: Path = CACHES) -> dict[str, int]:
    """{"L1": bytes, "L2": ..., "L3": ...} of one core, data and unified; {} where nothing says."""
    sizes = {}
    for each in sorted(folder.glob("index*")):
        try:
            level, holds, size = (
                (each / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        if holds != "Instruction":
            unit = {"K": 1 << 10, "M": 1 << 20}.get(size[-1:], 1)
            sizes[f"L{level}"] = int(size.rstrip("KM")) * unit
    return sizes


def describe(peers) -> dict:
    """What a reader has to know of the machine to make sense of figures measured on it."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": cpu_name(),
        "cpus": cpu_count(),
        "caches": cache_sizes(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "peers": {name: module.version() for name, module in peers.items()},
        "load": load if load is None else round(load, 2),
        "settings": {k: v for k, v in sorted(os.environ.items()) if k.startswith(SETTINGS)},
    }


class Others:
    """What other programs take of the CPUs while this process and its children do their work."""

    def __init__(self, stat: Path = Path("/proc/stat")):
        self.stat = stat
        self.before = self._seconds()

    def _seconds(self) -> tuple[float, float] | None:
        """(busy but not ours, all), summed over the machine's CPUs; None but on Linux."""
        try:
            fields = self.stat.read_text().split("\n", 1)[0].split()[1:9]
            user, nice, system, idle, iowait, irq, softirq, steal = map(int, fields)
        except (OSError, ValueError):
            return None
        tick = os.sysconf("SC_CLK_TCK")
        busy = (user + nice + system + irq + softirq + steal) / tick
        return busy - sum(os.times()[:4]), busy + (idle + iowait) / tick

    def share(self) -> float | None:
        """Of the CPUs' time since this was made, 0 to 1."""
        now = self._seconds()
        if not now or not self.before or now[1] <= self.before[1]:
            return None
        share = (now[0] - self.before[0]) / (now[1] - self.before[1])
        return round(min(max(share, 0.0), 1.0), 4)


def line(facts: dict, roofline: dict) -> str:
    """One line for people."""
    parts = [
        facts["cpu"],
        f"{facts['cpus']} CPUs",
        f"Python {facts['python']}",
        *(f"{name} {version}" for name, version in facts["peers"].items()),
    ]
    if roofline.get("peak"):
        parts.append(f"FMA peak {roofline['peak']:.0f} GFLOP/s a core ({roofline['isa']})")
    for dtype, peak in peaks(roofline).items():
        parts.append(f"{dtype} products {peak:.0f} Gop/s")
    for level in roofline.get("levels", []):
        parts.append(f"{level['name']} {level['gbs']:.0f} GB/s")
    if facts.get("others") is not None:
        parts.append(f"other programs took {facts['others']:.1%} of the CPUs")
    elif facts["load"] is not None:
        parts.append(f"load {facts['load']} at the start")
    parts += [f"{k}={v}" for k, v in facts["settings"].items()]
    return "; ".join(parts)


def peaks(roofline: dict) -> dict[str, float]:
    """{dtype: Gop/s} of one core at products of fewer bits."""
    older = {"int8": roofline["codes_peak"]} if roofline.get("codes_peak") else {}
    return roofline.get("peaks", older)


class Limits:
    """The FMA peak and the read bandwidth of one core, measured through the extension.

    Both are None without the extension's hooks (another backend), and the columns that need them
    are left out. Every figure is the best of this run so far, on whatever core the caller is on.
    """

    def __init__(self):
        from fastlstm.engine import backend

        self._backend = backend if hasattr(backend, "fma_peak") else None
        self.isa = fastlstm.config_dict()["isa"]
        self.best_peak = 0.0
        self.peaks: dict[str, float] = {}  # of products of fewer bits
        self._bandwidths: dict[int, float] = {}

    def peak(self, seconds: float = 0.05) -> float | None:
        """GFLOP/s of one core at f32 multiply-adds, now."""
        if self._backend is None:
            return None
        now = self._backend.fma_peak(self.isa, seconds)
        self.best_peak = max(self.best_peak, now)
        return now

    def of_products(self, dtype: str, seconds: float = 0.1) -> float | None:
        """Gop/s of one core at products of int8 or bfloat16, now."""
        if self._backend is None:
            return None
        now = self._backend.fma_peak(self.isa, seconds, dtype)
        self.peaks[dtype] = max(self.peaks.get(dtype, 0.0), now)
        return now

    def bandwidth(self, size: int, seconds: float = 0.03) -> float | None:
        """GB/s of one core reading `size` bytes again and again."""
        if self._backend is None:
            return None
        now = self._backend.read_bandwidth(size, seconds)
        self._bandwidths[size] = max(now, self._bandwidths.get(size, 0.0))
        return self._bandwidths[size]

    def levels(self) -> list[dict]:
        """[{"name", "bytes", "gbs"}]: half of L1, half of L2, four times L2, twice the last cache.

        What lies beyond 512 MiB is not probed, and is not in the list.
        """
        sizes = cache_sizes()
        probes = {f"{name}": sizes[name] // 2 for name in ("L1", "L2") if name in sizes}
        if {"L2", "L3"} <= set(sizes) and 4 * sizes["L2"] <= sizes["L3"]:
            probes["L3"] = 4 * sizes["L2"]
        if sizes:
            probes["memory"] = 2 * max(sizes.values())
        found = []
        for name, size in probes.items():
            if size <= MOST_PROBED and self._backend is not None:
                found.append({"name": name, "bytes": size, "gbs": self.bandwidth(size, 0.1)})
        return found

    def floor_seconds(self, shape, peak: float | None, cores: int) -> float | None:
        """The least time `cores` cores can take for a dense call, `peak` GFLOP/s together.

        The input products run at the peak. The recurrent ones run at the peak or at the bandwidth
        of reading their weights once a step from wherever they fit, whichever is slower.
        """
        bandwidth = self.bandwidth(shape.recurrent_bytes()) if peak else None
        if not bandwidth:
            return None
        recurrent = 2 * shape.gates * shape.H * shape.H * shape.B
        reads = shape.recurrent_bytes() / (bandwidth * cores * 1e9)
        seconds = 0.0
        for width in shape.layer_inputs:
            inputs = 2 * shape.gates * shape.H * width * shape.B / (peak * 1e9)
            seconds += shape.D * shape.T * (inputs + max(recurrent / (peak * 1e9), reads))
        return seconds

    def record(self) -> dict:
        """What is known by now, for the JSON and the plots."""
        return {
            "isa": self.isa,
            "peak": self.best_peak or None,
            "peaks": self.peaks,
            "levels": self.levels(),
            "probed": {str(size): gbs for size, gbs in sorted(self._bandwidths.items())},
        }
