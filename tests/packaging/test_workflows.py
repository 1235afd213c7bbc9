# SPDX-License-Identifier: MIT
"""The workflows for a public forge: they parse, and say what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"

yaml = pytest.importorskip("yaml")
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not FOLDER.exists(), reason="the workflows are not here"),
]


def workflow(name):
    return yaml.safe_load((FOLDER / name).read_text())


@pytest.mark.parametrize("name", ["ci.yml", "wheels.yml"])
def test_a_workflow_is_whole(name):
    found = workflow(name)
    assert found[True]  # "on", which YAML takes for a truth value
    assert found["permissions"] == {"contents": "read"}, "more only for the job that needs it"
    jobs = found["jobs"]
    for job in jobs.values():
        assert job["runs-on"] and set(job.get("needs", [])) <= set(jobs)
        matrix = job.get("strategy", {}).get("matrix", {})
        known = {*matrix, *(key for row in matrix.get("include", []) for key in row)}
        assert set(re.findall(r"matrix\.(\w+)", str(job))) <= known
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step
            assert "@" in step.get("uses", "@"), f"{step['uses']}: of which version?"
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_ci_tests_what_cibuildwheel_tests():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    steps = workflow("ci.yml")["jobs"]["systems"]["steps"]
    commands = " ".join(step.get("run", "") for step in steps).replace("\\\n", " ")
    assert settings["test-command"] in " ".join(commands.split())
    for name in settings["test-requires"]:
        assert name in commands
    for file in settings["test-command"].split()[2:]:
        assert (ROOT / file).exists(), file


def test_what_is_published_was_attested():
    publish = workflow("wheels.yml")["jobs"]["publish"]
    assert publish["needs"] == ["wheels", "sdist"] and "push" in publish["if"]
    used = [step["uses"].split("@")[0] for step in publish["steps"]]
    assert used.index("actions/attest-build-provenance") < used.index("pypa/gh-action-pypi-publish")
    assert publish["permissions"]["attestations"] == "write"


def test_every_python_with_a_classifier_has_a_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    built = re.findall(r"cp3(\d\d)-", project["tool"]["cibuildwheel"]["build"])
    named = re.findall(r":: 3\.(\d+)", " ".join(project["project"]["classifiers"]))
    assert named and set(named) <= set(built)
