# SPDX-License-Identifier: MIT
"""`fastlstm serve`: the protocol through Starlette's client, hostile clients and signals through a
server of its own process."""

import asyncio
import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import websockets
from conftest import FULL
from hostile import SECONDS, Hostile, get
from prometheus_client.parser import text_string_to_metric_families
from published import path_of
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

import fastlstm
from fastlstm.cli.main import main
from fastlstm.serve import run as serve_run
from fastlstm.serve.app import Server
from fastlstm.serve.served import Served

pytestmark = [pytest.mark.once]
F32 = np.float32
GOOD, BAD, FRAMES = (100, 200, 60) if FULL else (12, 30, 15)


@pytest.fixture
def layer(tmp_path):
    """(path of a layer's file, the layer)"""
    lstm = fastlstm.LSTM(3, 4)
    lstm.save(tmp_path / "layer.safetensors")
    return tmp_path / "layer.safetensors", lstm


@contextlib.contextmanager
def client(path, served=None, **options):
    made = Served(path, **{"streams": 2, **(served or {})})
    server = Server(made, **options)
    try:
        with TestClient(server.app) as http:
            http.server = server
            yield http
    finally:
        made.pool.shutdown()


def frames(n, size, rng):
    return rng.standard_normal((n, size)).astype(F32)


# ---- the protocol


def test_frames_in_outputs_out(layer, rng):
    path, lstm = layer
    x, stream = frames(5, 3, rng), lstm.stream()
    want = [stream.step(each[None])[0] for each in x]
    with client(path) as http:
        with http.websocket_connect("/stream?answer=binary") as one:
            assert one.receive_json() == {
                "frame": [3], "format": "float32", "answer": "binary", "outputs": ["y"],
                "sample_rate": 16000,
            }  # fmt: skip
            with http.websocket_connect("/stream") as other:
                other.receive_json()
                for i, each in enumerate(x):
                    one.send_bytes(each.tobytes())
                    assert one.receive_bytes() == want[i].tobytes()
                    other.send_bytes(each.tobytes())
                    assert other.receive_json() == {"frame": i, "y": want[i].tolist()}
        assert len(http.server.connections) <= 1


def test_samples_of_a_detector_with_context(rng):
    path = path_of("silero_vad.onnx")
    samples = (rng.standard_normal(512 * 4) * 3000).astype("<i2")
    padded = np.concatenate([np.zeros(64, F32), samples.astype(F32) / F32(32768)])
    stream = fastlstm.load_model(path).stream(sr=16000)
    options = {"frame": 512, "context": 64, "constants": {"sr": 16000}}
    with client(path, options) as http, http.websocket_connect("/stream?format=int16") as ws:
        assert ws.receive_json()["frame"] == [512]
        for i in range(4):
            ws.send_bytes(samples[512 * i : 512 * (i + 1)].tobytes())
            want = stream.step(padded[None, 512 * i : 512 * i + 576])
            assert ws.receive_json()["y"] == want[0].tolist()


@pytest.mark.parametrize(
    "sent, code, says",
    [
        (b"123", 1007, "a frame of float32 has 12 bytes, got 3"),
        (b"", 1007, "got 0"),
        (bytes(16), 1007, "got 16"),
        (np.full(3, np.nan, F32).tobytes(), 1007, "finite"),
        ("text", 1003, "binary"),
    ],
)
def test_a_wrong_message_ends_its_own_stream_alone(layer, sent, code, says):
    with client(layer[0]) as http, http.websocket_connect("/stream") as good:
        good.receive_json()
        with http.websocket_connect("/stream") as bad:
            bad.receive_json()
            bad.send_text(sent) if isinstance(sent, str) else bad.send_bytes(sent)
            with pytest.raises(WebSocketDisconnect) as caught:
                bad.receive_json()
        assert caught.value.code == code and says in caught.value.reason
        good.send_bytes(bytes(12))
        assert good.receive_json()["frame"] == 0
        assert f'fastlstm_closed_total{{code="{code}"}} 1.0' in http.get("/metrics").text


def refused(http, url="/stream", **options):
    with pytest.raises(WebSocketDenialResponse) as caught, http.websocket_connect(url, **options):
        pass
    return caught.value.status_code, caught.value.text


def test_who_may_connect(layer):
    with client(layer[0], token="secret") as http:
        assert refused(http) == (401, "a bearer token is due")
        assert refused(http, subprotocols=["fastlstm", "bearer.secre"])[0] == 401
        assert refused(http, headers={"Authorization": "Bearer secrets"})[0] == 401
        assert refused(http, headers={"Authorization": "Basic secret"})[0] == 401
        good = {"Authorization": "Bearer secret"}
        with http.websocket_connect("/stream", headers=good) as ws:
            ws.receive_json()
        with http.websocket_connect("/stream", subprotocols=["fastlstm", "bearer.secret"]) as ws:
            assert ws.accepted_subprotocol == "fastlstm"
        assert http.get("/metrics").status_code == 401
        assert http.get("/metrics", headers=good).status_code == 200
        assert http.get("/healthz").json()["status"] == "ok"
        assert refused(http, "/stream?format=mp3", headers=good)[0] == 400
        assert refused(http, "/stream?answer=xml", headers=good)[0] == 400
    with client(layer[0], hosts={"testserver"}) as http:
        for headers in ({}, {"Origin": "http://testserver"}, {"Host": "testserver:80"}):
            with http.websocket_connect("/stream", headers=headers):
                pass
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"},
                        {"Origin": "http://["}, {"Host": "[::"}, {"Origin": "null"}):  # fmt: skip
            assert refused(http, headers=headers)[0] == 403, headers
        assert http.get("/metrics", headers={"Host": "evil.example"}).status_code == 403


def test_full_fast_and_idle(layer):
    with client(layer[0], {"streams": 1}, rate=5) as http, http.websocket_connect("/stream") as ws:
        assert refused(http) == (503, "all 1 streams of this pool are open")
        ws.receive_json()
        with pytest.raises(WebSocketDisconnect) as caught:
            for _ in range(2000):
                ws.send_bytes(bytes(12))
                ws.receive_json()
        assert (caught.value.code, caught.value.reason) == (1008, "more than 5 frames a second")
    with client(layer[0], idle=0.01) as http, http.websocket_connect("/stream") as ws:
        ws.receive_json()
        with pytest.raises(WebSocketDisconnect) as caught:
            ws.receive_json()
        assert (caught.value.code, caught.value.reason) == (1008, "no frame in 0.01 seconds")


def test_metrics_and_the_page(layer):
    with client(layer[0]) as http:
        with http.websocket_connect("/stream") as ws:
            ws.receive_json()
            for _ in range(3):
                ws.send_bytes(bytes(12))
                ws.receive_json()
            found = {}
            for family in text_string_to_metric_families(http.get("/metrics").text):
                found |= {(s.name, *s.labels.values()): s.value for s in family.samples}
        assert found["fastlstm_open_streams",] == 1 and found["fastlstm_capacity_streams",] == 2
        assert found["fastlstm_frames_total",] == 3
        assert found["fastlstm_latency_seconds_bucket", "+Inf"] == 3
        page = http.get("/")
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "http://" not in page.text and "https://" not in page.text, "one file, by itself"
        for word in ("prefers-color-scheme: dark", "width=device-width", "getUserMedia"):
            assert word in page.text


# ---- starting


def test_wrong_starts(layer, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(serve_run, "_bound", lambda *_: pytest.fail("it must not start"))
    detector, other = str(path_of("silero_vad.onnx")), tmp_path / "no.onnx"
    other.write_bytes(b"nothing")
    for arguments, says in [
        ([layer[0], "--host", "0.0.0.0"], "--token is due"),
        ([layer[0], "--frame", 3], "--frame is not due"),
        ([layer[0], "--value", "sr=3"], "is a layer"),
        ([layer[0], "--streams", 0], "capacity must be"),
        ([layer[0], "--rate", 0], "--rate must be"),
        ([layer[0], "--workers", 0], "--workers must be"),
        ([layer[0], "--sample-rate", 0], "--sample-rate must be"),
        ([layer[0], "--context", 3], "--context is for"),
        ([layer[0], "--tls-key", "x"], "both, or none"),
        ([detector, "--value", "sr=16000"], "--frame must say"),
        ([detector, "--frame", 512], "given to `pool` by name"),
        ([tmp_path / "none.pt"], "no such file"),
        ([other], "no.onnx"),
    ]:
        assert main(["serve", *map(str, arguments)]) == 1
        assert says in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(layer, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastlstm.serve.run", None)
    assert main(["serve", str(layer[0])]) == 1
    assert "pip install 'fastlstm[serve]'" in capsys.readouterr().err


# ---- a server of its own process


@contextlib.contextmanager
def served(path, *options, scheme="http"):
    command = [sys.executable, "-m", "fastlstm", "serve", str(path), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        url = re.search(rf"{scheme}://\S+", line)
        assert url, line + process.stderr.read()
        yield process, url[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def metric(url, name):
    return float(re.search(rf"^{name} (\S+)", get(url + "metrics"), re.M)[1])


def test_a_signal_ends_it_when_what_it_took_is_answered(layer):
    """A frame waits for an hour for another stream's to join its batch: SIGTERM has it done."""
    path, lstm = layer
    with served(path, "--max-delay", str(3_600_000), "--streams", "2") as (process, url):

        async def talk():
            address = url.replace("http", "ws") + "stream?answer=binary"
            async with websockets.connect(address) as one, websockets.connect(address) as other:
                await one.recv(), await other.recv()
                x = np.ones((1, 3), F32)
                await one.send(x.tobytes())
                while metric(url, "fastlstm_waiting_frames") != 1:
                    await asyncio.sleep(0.01)
                process.send_signal(signal.SIGTERM)
                assert await one.recv() == lstm.stream().step(x).tobytes()
                for each in (one, other):
                    with pytest.raises(websockets.ConnectionClosed) as caught:
                        await each.recv()
                    assert caught.value.rcvd.code == 1001
                    assert "ending" in caught.value.rcvd.reason

        asyncio.run(asyncio.wait_for(talk(), SECONDS))
        assert process.wait(SECONDS) == 0, process.stderr.read()
        assert process.stderr.read() == ""


async def good_client(url, token, lstm, seed, count):
    """Without pings of its own, after which websockets gives up: what hangs is found otherwise."""
    x, stream = frames(count, 3, np.random.default_rng(seed)), lstm.stream()
    headers = {"Authorization": f"Bearer {token}"}
    address = url.replace("http", "ws") + "stream?answer=binary"
    options = {"additional_headers": headers, "open_timeout": SECONDS, "ping_interval": None}
    async with websockets.connect(address, **options) as ws:
        await ws.recv()
        for each in x:
            await ws.send(each.tobytes())
            assert await ws.recv() == stream.step(each[None]).tobytes()
            await asyncio.sleep(0.005)
    return count


def test_hostile_clients_cost_the_good_ones_no_frame(tmp_path, monkeypatch):
    path, lstm = tmp_path / "wide.safetensors", fastlstm.LSTM(3, 512)  # answers of 10 kB
    lstm.save(path)
    monkeypatch.setenv("FASTLSTM_TOKEN", "secret")
    limits = "--streams", str(GOOD + BAD), "--rate", "100000", "--patience", "1"
    with served(path, *limits) as (process, url):
        hostile = Hostile(url, "secret")

        async def everybody():
            wrong = [Hostile.KINDS[i % len(Hostile.KINDS)](hostile) for i in range(BAD)]
            good = [good_client(url, "secret", lstm, i, FRAMES) for i in range(GOOD)]
            return (await asyncio.gather(*good, *wrong))[:GOOD]

        answered = asyncio.run(asyncio.wait_for(everybody(), 5 * SECONDS))
        assert answered == [FRAMES] * GOOD
        good = {"Authorization": "Bearer secret"}
        give_up = time.monotonic() + SECONDS
        while json.loads(get(url + "healthz"))["streams"]:  # those that vanished are let go
            assert time.monotonic() < give_up
            time.sleep(0.02)
        assert json.loads(get(url + "healthz")) == {"status": "ok", "streams": 0}
        text = get(url + "metrics", **good)
        assert "fastlstm_waiting_frames 0.0" in text
        for code in (1003, 1007, 1008):  # text, wrong sizes, answers that are not read
            assert f'fastlstm_closed_total{{code="{code}"}}' in text
        with pytest.raises(urllib.error.HTTPError):
            get(url + "metrics")
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        assert "Traceback" not in process.stderr.read()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_over_tls(layer, tmp_path):
    import ssl

    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, capture_output=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    names = {"certificate": "cert.pem", "key": "key.pem"}
    options = [w for name, file in names.items() for w in (f"--tls-{name}", str(tmp_path / file))]
    with served(layer[0], *options, scheme="https") as (_, url):
        trusted = ssl.create_default_context(cafile=tmp_path / "cert.pem")

        async def talk():
            address = url.replace("https", "wss") + "stream"
            async with websockets.connect(address, ssl=trusted) as ws:
                await ws.recv()
                await ws.send(bytes(12))
                return json.loads(await ws.recv())

        assert asyncio.run(asyncio.wait_for(talk(), SECONDS))["frame"] == 0
