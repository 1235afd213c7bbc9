# SPDX-License-Identifier: MIT
"""`fastlstm inspect`, which says what is in a file of weights, and `fastlstm convert`, which writes
the file's recurrent layers to fastlstm's format (safetensors with a description of the layers)."""

import dataclasses
import json
import sys

from ..errors import LoadError
from ..files import read
from ..files.contents import group_by_prefix, layer_weights
from ..files.safetensors.layers import write
from ..layers.build import ready
from ..layers.load import left_out, refusal
from ..layers.weights import DTYPES, PRECISIONS, checked_pair, pair_of
from ..models.load import load_model
from ..onnxruntime import nodes
from .arrays import check_new
from .inspect_model import Report, is_model, shown
from .inspect_model import add_arguments as model_arguments

INSPECT = "what is in a file: the whole model and its graph, recurrent layers, tensors"
CONVERT = "write the recurrent layers of a file of any format to fastlstm's own (safetensors)"


def file_arguments(parser):
    """Add the arguments with which a user says what some files do not say themselves."""
    parser.add_argument("--activation", metavar="NAME", help="Keras weights alone: 'tanh', ...")
    parser.add_argument(
        "--recurrent-activation", metavar="NAME", help="the same, of the gates: 'sigmoid', ..."
    )
    parser.add_argument(
        "--reset-after", choices=("yes", "no"), help="a GRU whose file does not tell"
    )
    parser.add_argument(
        "--go-backwards", action="store_true",
        help="Keras weights alone: layers of one direction have go_backwards=True",
    )  # fmt: skip
    parser.add_argument(
        "--external-data",
        action="store_true",
        help="read ONNX tensors in other files than <model>.data",
    )


def file_options(args):
    """The values of file_arguments' arguments as keywords of `fastlstm.load`. Those that were not
    given are left out, but external_data."""
    options = {"external_data": args.external_data}
    options |= {
        name: getattr(args, name)
        for name in ("activation", "recurrent_activation")
        if getattr(args, name) is not None
    }
    if args.reset_after is not None:
        options["reset_after"] = args.reset_after == "yes"
    if args.go_backwards:
        options["go_backwards"] = True
    return options


# ---- inspect


def inspect_arguments(parser):
    parser.add_argument("file")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument(
        "--onnxruntime", action="store_true",
        help="only which nodes of an ONNX file fastlstm.onnxruntime runs in ONNX Runtime",
    )  # fmt: skip
    model_arguments(parser)
    file_arguments(parser)


def _inspect_nodes(args):
    """`inspect --onnxruntime`. 1 if a node would be refused."""
    found = nodes(args.file)
    if args.json:
        print(json.dumps([dataclasses.asdict(node) for node in found], indent=2))
    else:
        print("recurrent nodes in ONNX Runtime" if found else "no recurrent nodes")
        width = max((len(shown(node.name)) for node in found), default=0)
        for node in found:
            print(f"    {shown(node.name):{min(width, 60)}}  {node}")
    return int(any(node.refused for node in found))


def _as_json(path, format_name, found):
    """What `inspect --json` prints of the Contents `found`."""
    return {
        "file": path,
        "format": format_name,
        "tensors": {
            name: {"dtype": str(array.dtype), "shape": list(array.shape)}
            for name, array in found.arrays.items()
        },
        "unread": found.unread,
        "opaque": found.opaque,
        "layers": {
            prefix: dataclasses.asdict(layer) | {"refused": refusal(layer)}
            for prefix, layer in found.layers.items()
        },
    }


def _size(count):
    """A number of bytes as text, in the unit that suits it."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count} bytes"
        count /= 1024
    return f"{count:.3g} GiB"


def inspect(args):
    """Print the file's whole model, its format, recurrent layers and tensors, and what it holds
    that is left out, for people or as JSON. Gives the exit code. 0: the file is read, and the model
    or every layer in it can be loaded; 1: the file or a layer is refused; 2: the file cannot be
    opened."""
    report = found = error = None
    try:
        if args.onnxruntime:
            return _inspect_nodes(args)
        if is_model(args.file):
            report = Report(args)
            if args.plot and report.error is None:
                report.plot(args.plot)
        if args.plot and (report is None or report.error is not None):
            reason = report.error if report else "weights alone do not say how a model computes"
            raise LoadError(f"{args.file}: no whole model to draw: {reason}")
        format_name, found = read.contents(args.file, **file_options(args))
    except LoadError as reason:
        error = reason
    except OSError as reason:
        name = reason.filename or args.file
        print(f"fastlstm: {name}: {reason.strerror}; check the path", file=sys.stderr)
        return 2
    runs = report is not None and report.error is None
    if found is None and not runs:
        if args.json:
            print(json.dumps({"file": args.file, "error": str(error)}, indent=2))
            return 1
        raise error
    good = runs and not report.refused
    refused = found is not None and any(refusal(layer) for layer in found.layers.values())
    if args.json:
        text = {"file": args.file, "error": str(error)} if found is None else None
        text = text or _as_json(args.file, format_name, found)
        print(json.dumps(text | ({"model": report.as_json()} if report else {}), indent=2))
    else:
        if report is not None:
            print(*report.lines(), sep="\n")
        if found is not None:
            _print_contents(args.file, format_name, found)
    return int(not good and (found is None or refused or (report is not None and runs)))


def _print_contents(path, format_name, found):
    """The tensors of a file and the recurrent layers in it."""
    arrays, layers = found.arrays, found.layers
    total = sum(array.nbytes for array in arrays.values())
    print(f"{path}: {format_name}, {len(arrays)} tensors, {_size(total)}")
    print("layers" if layers else "no recurrent layers")
    width = max((len(shown(prefix)) for prefix in layers), default=0)
    for prefix, layer in layers.items():
        reason = refusal(layer)
        note = f"  refused: {reason}" if reason and not layer.problem else ""
        print(f"    {shown(prefix):{min(width, 60)}}  {shown(str(layer))}{note}")
    print("tensors")
    width = max((len(shown(name)) for name in arrays), default=0)
    for name, array in arrays.items():
        print(f"    {shown(name):{min(width, 60)}}  {array.dtype} {array.shape}")
    for heading, left in (("tensors not read", found.unread), ("not looked into", found.opaque)):
        if left:
            print(heading)
        width = max((len(shown(name)) for name in left), default=0)
        for name, what in left.items():
            print(f"    {shown(name):{min(width, 60)}}  {what}")


# ---- convert


def convert_arguments(parser):
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--prefix", help="only this layer; it gets the empty prefix")
    parser.add_argument(
        "--dtype", choices=DTYPES, help="of the weight matrices; without it they stay as they are "
        "in a file of fastlstm's own, and are float32 from all others",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="of products of float32 weights; without it as the "
        "file has them",
    )  # fmt: skip
    parser.add_argument(
        "--whole", action="store_true", help="the whole model of an ONNX or Keras file, as "
        "Model.save writes it",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    parser.add_argument("--dry-run", action="store_true", help="say what would be written")
    file_arguments(parser)


def convert(args):
    """Write the file's recurrent layers. Gives the exit code. 0: all were written; 1: some were
    left out, and named, as they cannot be run. LoadError if none is left."""
    check_new([args.output], args.force or args.dry_run)
    if args.whole:
        return _convert_whole(args)
    checked_pair(args.dtype, args.precision)
    name, found = read.read_layers(args.input, file_options(args))
    if args.prefix is not None:
        prefix = read.choose_prefix(name, found.layers, args.prefix)
        chosen = {"": prefix}
    else:
        chosen = {prefix: prefix for prefix in found.layers}
    refused = [f"prefix {shown(old)}: {found.layers[old].problem}" for old in chosen.values()
               if found.layers[old].problem]  # fmt: skip
    said = left_out(name, refused, len(chosen)) if refused else ""
    layers, groups = {}, group_by_prefix(found.weights(args.dtype))
    for new, old in chosen.items():
        layer = found.layers[old]
        if layer.problem:
            continue
        weights = layer_weights(groups, old, layer)
        dtype, precision = pair_of(args.dtype, args.precision, layer.dtype, layer.precision)
        layer = dataclasses.replace(layer, dtype=dtype, precision=precision)
        try:
            weights |= ready(layer, weights, layer.dtype, keep=True)
        except ValueError as error:
            raise LoadError(f"{name}: prefix {shown(old)}: {error}") from None
        layers[new] = (layer, weights)
    if not args.dry_run:
        write(args.output, layers)
    did = "would write" if args.dry_run else "wrote"
    for prefix, (layer, _) in layers.items():
        print(f"{did} {shown(prefix)}  {shown(str(layer))}")
    print(f"{did} {args.output}: {len(layers)} layer{'s' if len(layers) > 1 else ''}")
    if refused:
        print(f"fastlstm: {said}", file=sys.stderr)
    return int(bool(refused))


def _convert_whole(args):
    """Write the whole model of the file. What does not fit together in it may show only when it
    runs."""
    if args.prefix is not None:
        raise ValueError("--prefix names a layer: a whole model has none")
    model = load_model(
        args.input, dtype=args.dtype, precision=args.precision, external_data=args.external_data
    )
    if not args.dry_run:
        model.save(args.output)
    did = "would write" if args.dry_run else "wrote"
    print(f"{did} {args.output}: {shown(str(model))}, {model.dtype}")
    return 0
