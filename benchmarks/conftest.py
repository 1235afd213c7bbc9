# SPDX-License-Identifier: MIT
"""What pytest-benchmark saves, without what a comparison does not read: baselines are committed."""

from fastlstm.bench import machine

STATS = "min max mean stddev median iqr q1 q3 ops total rounds iterations outliers"


def short(record):
    """Floats to five significant digits."""
    return {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in record.items()}


def pytest_benchmark_generate_machine_info():
    facts = machine.describe({})
    return {key: facts[key] for key in ("cpu", "cpus", "system", "python", "settings")}


def pytest_benchmark_update_json(output_json):
    output_json["commit_info"] = {}
    for each in output_json["benchmarks"]:
        kept = {name: each["stats"][name] for name in STATS.split()}
        each["stats"], each["extra_info"] = short(kept), short(each["extra_info"])
        each["options"] = {}
        del each["params"]
