# SPDX-License-Identifier: MIT
"""The load generator of live streams: every engine answers every frame."""

import json

import pytest
import streams


@pytest.mark.parametrize("engine", list(streams.ENGINES))
def test_every_frame_is_answered(engine, capsys):
    streams.main(["--streams", "3", "--seconds", "0.1", "--engines", engine])
    row = json.loads(capsys.readouterr().out)
    assert (row["engine"], row["frames"], row["lost"]) == (engine, 9, 0)
    assert 0 < row["p50"] <= row["p99"] <= row["max"] and row["cpu"] >= 0


def test_the_search_ends_at_the_limit(monkeypatch):
    """Short runs find the most that are held; where a long run does not hold them, it is fewer."""
    shown = []

    def measured(engine, n, seconds):
        return {"lost": 0, "p99": n / 10 * (1.1 if seconds == 60 else 1)}

    monkeypatch.setattr(streams, "measured", measured)
    most = streams.search("step", 1, 20, shown.append, probe=1)
    assert 190 <= most < 200 and len(shown) < 12
    most = streams.search("step", 60, 20, shown.append, probe=5)
    assert 165 <= most < 182 and len(shown) < 26
    assert streams.held({"lost": 1, "p99": 1}, 20) is False
