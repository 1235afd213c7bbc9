# SPDX-License-Identifier: MIT
"""Recorded sequences: `fastlstm score` beside loops over PyTorch and ONNX Runtime.

    python benchmarks/score.py [--rows 1000000] [--rounds 3]

An LSTM(16, 64) over sequences of 10 to 100 steps in a Parquet file; the last h of each goes to
another file. The loops are what people write: row groups read by pyarrow, rows sorted by length,
batches of 256 padded with zeros; PyTorch packs them, ONNX Runtime has an input of lengths. Rounds
alternate; printed are rows a second, medians and the range, rows a second of CPU time, and the
largest difference of the outputs.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fastlstm
from fastlstm.score import score
from fastlstm.score.columns import sequences

I, H, BATCH = 16, 64, 256


def write_input(path, rows, group=20_000):
    """Ragged lists of steps of I float32, in row groups."""
    rng = np.random.default_rng(0)
    step = pa.list_(pa.float32(), I)
    with pq.ParquetWriter(path, pa.schema([("x", pa.list_(step))])) as writer:
        for begin in range(0, rows, group):
            lengths = rng.integers(10, 101, min(group, rows - begin))
            values = rng.standard_normal(int(lengths.sum()) * I, dtype=np.float32)
            steps = pa.FixedSizeListArray.from_arrays(pa.array(values), I)
            offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
            writer.write_table(pa.table({"x": pa.ListArray.from_arrays(offsets, steps)}))


def by_batches(source, target, run):
    """The plain loop: run(x (T, B, I), lengths) -> (B, H)."""
    schema = pa.schema([("y", pa.list_(pa.float32(), H))])
    file = pq.ParquetFile(source)
    with pq.ParquetWriter(target, schema) as writer:
        for group in range(file.num_row_groups):
            given = sequences(file.read_row_group(group)["x"], "x")
            y = np.empty((len(given), H), np.float32)
            order = np.argsort(-given.lengths, kind="stable")
            for begin in range(0, len(order), BATCH):
                rows = order[begin : begin + BATCH]
                lengths = given.lengths[rows]
                x = np.zeros((lengths[0], len(rows), I), np.float32)
                for i, row in enumerate(rows):
                    x[: lengths[i], i] = given.row(row)
                y[rows] = run(x, lengths)
            column = pa.FixedSizeListArray.from_arrays(pa.array(y.reshape(-1)), H)
            writer.write_table(pa.table([column], schema))


def engines(layer, folder, threads):
    """{name: f(source, target)}"""
    import onnx
    import onnxruntime
    import torch
    from onnx import TensorProto, helper, numpy_helper

    torch.set_num_threads(threads)
    weights = layer.state_dict()
    module = torch.nn.LSTM(I, H).eval()
    module.load_state_dict({name: torch.from_numpy(a) for name, a in weights.items()})

    def in_torch(x, lengths):
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            torch.from_numpy(x), torch.from_numpy(np.ascontiguousarray(lengths))
        )
        with torch.inference_mode():
            return module(packed)[1][0][0].numpy()

    order = np.r_[0:H, 3 * H : 4 * H, H : 2 * H, 2 * H : 3 * H]  # ONNX's gates: i o f c
    pick = lambda name: weights[f"{name}_l0"][order]  # noqa: E731
    constants = {
        "W": pick("weight_ih")[None], "R": pick("weight_hh")[None],
        "B": np.concatenate([pick("bias_ih"), pick("bias_hh")])[None],
    }  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "W", "R", "B", "n"], ["", "h"], hidden_size=H)],
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", I]),
         helper.make_tensor_value_info("n", TensorProto.INT32, ["B"])],
        [helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, "B", H])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    in_ort = lambda x, n: session.run(["h"], {"x": x, "n": n.astype(np.int32)})[0][0]  # noqa: E731
    path = str(Path(folder) / "layer.safetensors")
    layer.save(path)
    return {
        "fastlstm": lambda a, b: score(path, [a], b, "x", num_threads=threads, force=True),
        "torch": lambda a, b: by_batches(a, b, in_torch),
        "onnxruntime": lambda a, b: by_batches(a, b, in_ort),
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        source = f"{folder}/in.parquet"
        write_input(source, args.rows)
        seconds, cpu, outputs = {}, {}, {}
        for _ in range(args.rounds):
            for name, run in engines(fastlstm_layer(), folder, args.threads).items():
                target = f"{folder}/{name}.parquet"
                begin, busy = time.perf_counter(), time.process_time()
                run(source, target)
                cpu.setdefault(name, []).append(time.process_time() - busy)
                seconds.setdefault(name, []).append(time.perf_counter() - begin)
                column = pq.read_table(target)["y"].combine_chunks()
                outputs[name] = column.flatten().to_numpy().reshape(-1, H)
        assert len(outputs["fastlstm"]) == args.rows
        for name, times in seconds.items():
            rates = [args.rows / t for t in times]
            off = np.abs(outputs[name] - outputs["fastlstm"]).max()
            print(
                f"{name:12} {statistics.median(rates):>12,.0f} rows/s "
                f"({min(rates):,.0f} to {max(rates):,.0f}), "
                f"{args.rows / statistics.median(cpu[name]):,.0f} rows/s of CPU, "
                f"differs by {off:.1e}"
            )


def fastlstm_layer():
    """The same weights every time."""
    layer, rng = fastlstm.LSTM(I, H), np.random.default_rng(1)
    layer.load_state_dict(
        {name: rng.uniform(-0.125, 0.125, a.shape) for name, a in layer.state_dict().items()}
    )
    return layer


if __name__ == "__main__":
    main()
