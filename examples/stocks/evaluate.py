# SPDX-License-Identifier: MIT
"""The walk-forward forecasts beside the random walk, AR(1), GARCH and others.

python evaluate.py         # writes results.json, README's tables, the pictures, tests' outputs
"""

import sys
import time
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import pictures, report, timing  # noqa: E402
from common.scores import interval  # noqa: E402

from stocks.data import FIRST, LAST, Market  # noqa: E402
from stocks.deploy import MODELS, RUNNING, Features, Forecaster, series, simulated  # noqa: E402

FILE = MODELS / f"{LAST}.safetensors"
BLOCK = 20  # days that are drawn together
SPANS = {"2004 to 2018": (2004, 2018), "2004 to 2011": (2004, 2011), "2012 to 2018": (2012, 2018)}

NOT_BEATEN = (
    "**It does not beat the random walk.** The best forecast of tomorrow's price that this LSTM\n"
    "makes is no better than today's price; what it can forecast is how much tomorrow will move."
)
BEATEN = (
    "**It beats the random walk** by the squared error of tomorrow's return, on these days: be\n"
    "suspicious. What it can forecast better is how much tomorrow will move."
)


def walk_forward(market, dtype="float32"):
    """(means, volatilities) for each day, NaN before FIRST: each year by its own model, which
    streams through all days before."""
    means = np.full(len(market.y), np.nan)
    volatilities = means.copy()
    for year in range(FIRST, LAST + 1):
        days = market.year <= year
        mean, volatility = Forecaster(year, dtype).forecast(market.x[days])
        chosen = market.year == year
        means[chosen], volatilities[chosen] = mean[chosen[days]], volatility[chosen[days]]
    return means, volatilities


def linear(market):
    """{name: means} of what is fitted to the days before a year: their mean, and AR(1)."""
    mean, ar = np.full(len(market.y), np.nan), np.full(len(market.y), np.nan)
    today = market.returns[:-1]
    for year in range(FIRST, LAST + 1):
        past, now = market.year < year, market.year == year
        mean[now] = market.y[past].mean()
        slope, level = np.polyfit(today[past], market.y[past], 1)
        ar[now] = slope * today[now] + level
    return {"the mean so far": mean, "AR(1)": ar}


def variances(market):
    """{name: variances}, parameters fitted to the days before each year."""
    from arch import arch_model

    found = {
        "running variance (0.94)": np.exp(market.x[:, RUNNING].astype(np.float64)),
        "GARCH(1,1)": np.full(len(market.y), np.nan),
        "GJR-GARCH(1,1)": np.full(len(market.y), np.nan),
        "HAR on ranges": np.full(len(market.y), np.nan),
    }
    logs = np.log(market.ranges)
    means = [
        np.array([logs[max(0, t - n + 1) : t + 1].mean() for t in range(len(logs))])
        for n in (1, 5, 22)
    ]
    har = np.stack([np.ones(len(logs)), *means], 1)
    for year in range(FIRST, LAST + 1):
        past, now = np.flatnonzero(market.year < year), market.year == year
        for name, asymmetric in (("GARCH(1,1)", 0), ("GJR-GARCH(1,1)", 1)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = arch_model(market.returns, p=1, o=asymmetric, q=1, mean="Constant")
                fit = model.fit(last_obs=past[-1] + 2, disp="off")
                forecast = fit.forecast(horizon=1, start=0, align="origin").variance
            found[name][now] = np.asarray(forecast)[:-1, 0][now]
        fitted = past[22:-1]
        weights = np.linalg.lstsq(har[fitted], logs[fitted + 1], rcond=None)[0]
        predicted = np.exp(har @ weights)
        scale = np.mean(market.y[fitted] ** 2 / predicted[fitted])  # from ranges to returns
        found["HAR on ranges"][now] = scale * predicted[now]
    return found


def over_spans(market, losses):
    """{span: interval of the mean loss}."""
    found = {}
    for span, (first, last) in SPANS.items():
        chosen = losses[(market.year >= first) & (market.year <= last)]
        found[span] = interval(lambda i, c=chosen: c[i].mean(), len(chosen), BLOCK)
    return found


def ratios(market, errors, walk):
    """{span: interval of the mean squared error over the random walk's}."""
    found = {}
    for span, (first, last) in SPANS.items():
        chosen = (market.year >= first) & (market.year <= last)
        a, b = errors[chosen], walk[chosen]
        found[span] = interval(lambda i, a=a, b=b: a[i].mean() / b[i].mean(), len(a), BLOCK)
    return found


def scores(market, ours):
    means = {f"this LSTM, {name}": mean for name, (mean, _) in ours.items()} | linear(market)
    walk = market.y**2
    returns = {who: ratios(market, (market.y - m) ** 2, walk) for who, m in means.items()}
    of_all = {f"this LSTM, {name}": v**2 for name, (_, v) in ours.items()} | variances(market)
    losses = {who: np.log(v) + walk / v for who, v in of_all.items()}
    garch = losses["GARCH(1,1)"]
    tables = {
        "next day's return: squared error over the random walk's": (4, returns),
        "next day's variance: QLIKE, log v + r^2/v": (
            3, {who: over_spans(market, loss) for who, loss in losses.items()}),
        "QLIKE less GARCH(1,1)'s, the same days": (
            3,
            {who: over_spans(market, loss - garch) for who, loss in losses.items()
             if who != "GARCH(1,1)"}),
    }  # fmt: skip
    return {
        name: {"better": "lower", "digits": digits, "rows": rows}
        for name, (digits, rows) in tables.items()
    }, of_all


def torch_network():
    """train.Network with the weights of the last year's file."""
    import torch
    from common.export import weights_of

    from stocks.train import Network

    torch.set_num_threads(1)
    found, network = weights_of(FILE), Network(torch.zeros(5), torch.ones(5))
    network.load_state_dict({name: found[name] for name in network.state_dict()})
    return network.eval()


def by_torch(features):
    """(means, volatilities) as PyTorch computes them."""
    import torch

    with torch.inference_mode():
        mean, volatility, *_ = torch_network()(torch.from_numpy(features)[:, None])
    return mean[:, 0].numpy(), volatility[:, 0].numpy()


def difference(market):
    """The largest differences from PyTorch over all days, of means and volatilities in percent."""
    exact = by_torch(market.x)
    found = {}
    for dtype in ("float32", "int8"):
        ours = Forecaster(LAST, dtype).forecast(market.x)
        found[f"{dtype}_difference"] = max(
            float(np.abs(a - b).max()) for a, b in zip(ours, exact, strict=True)
        )
    return found


def speed(market):
    """Microseconds for a day that comes alone: features, and one step of the whole model."""
    import torch
    from common.peers import session

    from stocks.train import deployed

    days, network = market.days[:500], torch_network()
    module, arguments, inputs, *names = deployed(network)
    onnx, zero = session(module, arguments, inputs, *names), arguments[1].numpy()

    def others(run, state):
        """The days by another engine, with deploy's features."""
        features = Features()
        for day in days:
            found = features.step(*day)
            if found is not None:
                _, _, *state = run(np.array([[found]], np.float32), *state)

    @torch.inference_mode()
    def torch_run():
        others(lambda x, h, c: network(torch.from_numpy(x), h, c), arguments[1:])

    def onnx_run():
        others(lambda *given: onnx.run(None, dict(zip(inputs, given, strict=True))), (zero, zero))

    def fast(dtype):
        forecaster = Forecaster(LAST, dtype)

        def run():
            forecaster.reset()
            for day in days:
                forecaster.step(*day)

        return run

    engines = {
        "fastlstm, float32": fast("float32"),
        "fastlstm, int8": fast("int8"),
        "ONNX Runtime": onnx_run,
        "PyTorch": torch_run,
    }
    engines = {name: timing.passes(run, len(days)) for name, run in engines.items()}
    return {"what": "a new day", "engines": timing.microseconds(engines)}


def draw(market, of_all):
    """The volatilities of the wildest years, for common.pictures."""
    chosen = (market.year >= 2007) & (market.year <= 2010)
    at = 2007 + 4 * np.arange(chosen.sum()) / chosen.sum()

    def drawn(plt, colours):
        figure, axis = plt.subplots(figsize=(8, 3.1), layout="constrained")
        moved = np.abs(market.y[chosen])
        axis.plot(at, moved, ".", ms=2.5, color=colours.faint, label="what the day moved, |return|")
        for n, who in ((1, "GARCH(1,1)"), (0, "this LSTM, float32")):
            volatility = np.sqrt(of_all[who][chosen])
            axis.plot(at, volatility, color=colours.lines[n], lw=1.3, label=who)
        axis.set(ylabel="% a day", ylim=(0, 8), xlim=(2007, 2011), xticks=range(2007, 2012))
        axis.set_xlabel("year")
        axis.set_title("S&P 500: volatility forecast the evening before", fontsize=10)
        axis.legend(frameon=False, fontsize=9)
        return figure

    return drawn


def main():
    start, market = time.process_time(), Market()
    ours = {dtype: walk_forward(market, dtype) for dtype in ("float32", "int8")}
    tables, of_all = scores(market, ours)
    beaten = tables[next(iter(tables))]["rows"]["this LSTM, float32"]["2004 to 2018"]["high"] < 1
    results = {
        "verdict": BEATEN if beaten else NOT_BEATEN,
        "scores": tables,
        "beats_the_random_walk": beaten,
        "days": int((market.year >= FIRST).sum()),
        "training": report.read(HERE, "training.json"),
        "deployed": {"file_kb": FILE.stat().st_size / 1e3, **difference(market)},
        "speed": speed(market),
        "installed_mb": timing.installed("fastlstm", "numpy", "onnxruntime", "torch", "arch"),
        "made_with": report.made_with("torch", "onnxruntime", "arch"),
    }
    mean, volatility = by_torch(series(simulated()[0]))
    report.keep(
        HERE / "outputs.json",
        {"means": mean[-20:].tolist(), "volatilities": volatility[-20:].tolist()},
    )
    pictures.save(HERE / "volatility", draw(market, of_all))
    report.write(HERE, results)
    print("\n".join(report.lines(results)))
    print(f"{time.process_time() - start:.0f} s of CPU")


if __name__ == "__main__":
    main()
