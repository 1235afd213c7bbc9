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


def test_a_server_that_ends_streams_does_not_hold_them(capsys, tmp_path):
    """As one that falls behind may: no other row is lost with it, and a search goes on."""
    out = tmp_path / "rows.json"
    streams.main(["--streams", "3", "--seconds", "1", "--engines", "server", "step",
                  "--server", "--rate 5", "--out", str(out)])  # fmt: skip
    ended, row = json.loads(out.read_text())["rows"]
    assert ended["lost"] == ended["frames"] > 0 and "ended stream" in ended["ended"]
    assert ended["p99"] is None and streams.held(ended, 20) is False
    assert row["engine"] == "step" and row["lost"] == 0
