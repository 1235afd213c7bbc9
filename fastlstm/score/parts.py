# SPDX-License-Identifier: MIT
"""Files of any size, part by part.

The rows of all input files, in order, are cut into parts by the files' own row groups. A part's
outputs are written to a file of their own in the folder OUT.parts, flushed, and renamed: it is
there whole or not at all. When all are, OUT is put together from them, renamed to its place, and
the folder goes. A run that was killed at any point is resumed by looking which parts are there; the
bytes of OUT are the same, since the cuts follow from the inputs alone and a row's bits not from its
batch. OUT.parts/run.json, and OUT's metadata, say of which inputs, model and options.
"""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..config import __version__

PART = 32 << 20  # bytes of the sequences and kept columns in a part, uncompressed, about
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4}  # bytes of a number
KEY = b"fastlstm.score"
BUFFER = 1 << 20
OWN = re.compile(r"run\.json|\d{8,}\.parquet|\..*")  # names in the folder of parts


def files_of(paths, output, folder):
    """The Parquet files of paths; a folder's are all below it, in order of their names, but what
    a run has written to `output` and its folder of parts."""
    own = {folder.resolve()}
    if output.is_file() and _told(output) is not None:
        own.add(output.resolve())
    found = []
    for path in map(Path, paths):
        inside = [path]
        if path.is_dir():
            below = ((each, each.resolve()) for each in sorted(path.rglob("*.parquet")))
            inside = [each for each, real in below if own.isdisjoint((real, *real.parents))]
        if not inside:
            raise ValueError(f"{path}: there is no .parquet file in this folder")
        found += inside
    return found


def _digest(path, last=None):
    made = hashlib.sha256()
    with open(path, "rb") as file:
        if last is not None:
            file.seek(max(0, os.path.getsize(path) - last))
        while block := file.read(BUFFER):
            made.update(block)
    return made.hexdigest()


def _opened(path):
    os.stat(path)  # its error names the path
    try:
        return pq.ParquetFile(path, buffer_size=BUFFER)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: no Parquet file ({error})") from None


def _parts(file, columns):
    """(row group, rows of each part but the last, rows) of each row group. Numbers count as they
    are in memory: in a file those that repeat can be hardly a bit each."""
    metadata = file.metadata
    for group in range(metadata.num_row_groups):
        found = metadata.row_group(group)
        chunks = (found.column(i) for i in range(found.num_columns))
        size = sum(
            max(c.total_uncompressed_size, c.num_values * WIDTHS.get(c.physical_type, 8))
            for c in chunks
            if any(f"{c.path_in_schema}.".startswith(f"{name}.") for name in columns)
        )
        rows = found.num_rows
        if rows:
            yield group, max(1, min(rows, rows * PART // max(size, 1))), rows


def _sync(path):
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put(write, path, folder=None):
    """Writes a file by write(temporary path), whole or not at all, also if the machine stops.
    folder: where the temporary file is; None: beside it."""
    temporary = (folder or path.parent) / f".{path.name}.{os.getpid()}"
    try:
        write(temporary)
        _sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        _sync(path.parent)


def run(scorer, model, inputs, output, options, resume, force, progress):
    """fastlstm.score.score, by a Scorer of this model and these options."""
    output, column = Path(output), scorer.column
    folder = output.with_name(output.name + ".parts")
    files = files_of(inputs, output, folder)
    if output.resolve() in [file.resolve() for file in files]:
        raise ValueError(f"{output} is an input, and would be replaced")
    work, schema = [], None
    for number, path in enumerate(files):
        with _opened(path) as file:
            try:
                own = scorer.schema(file.schema_arrow)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
            if own != (schema or own):
                raise ValueError(f"{path}: kept columns are of other types than in {files[0]}")
            schema = own
            work += [(number, *part) for part in _parts(file, [column, *scorer.keep])]
    total = sum(rows for *_, rows in work)
    told = options | {
        "constants": {n: repr(v) for n, v in (options.get("constants") or {}).items()}
    }
    told.pop("num_threads", None)
    this = {
        "fastlstm": __version__,
        "model": _digest(model),
        "column": column,
        "inputs": [[path.name, os.path.getsize(path), _digest(path, BUFFER)] for path in files],
        "options": {name: told[name] for name in sorted(told)},
        "part": PART,
    }
    text = json.dumps(this, sort_keys=True)
    if not _begin(output, folder, text, resume, force):
        return total
    schema = schema.with_metadata({KEY: text})
    names, done = [], 0
    for number, group, size, rows in work:
        paths = [folder / f"{len(names) + i:08}.parquet" for i in range(-(-rows // size))]
        names += paths
        if not all(path.exists() for path in paths):
            with _opened(files[number]) as file:
                batches = file.iter_batches(
                    size, row_groups=[group], columns=[column, *scorer.keep], use_threads=False
                )
                for i, (path, table) in enumerate(zip(paths, _exactly(batches, size), strict=True)):
                    if not path.exists():
                        made = _scored(scorer, table, files[number], group)
                        _put(lambda to, made=made: pq.write_table(made, to), path)
                    if progress:
                        progress(min(done + size * (i + 1), done + rows), total)
        done += rows
        if progress:
            progress(done, total)

    def assemble(to):
        with pq.ParquetWriter(to, schema) as writer:
            for path in names:
                writer.write_table(pq.read_table(path).cast(schema), row_group_size=1 << 30)

    _put(assemble, output, folder)  # a killed run leaves nothing beside OUT but the folder
    shutil.rmtree(folder)
    return total


def _exactly(batches, size):
    """Tables of `size` rows, the last of fewer, of record batches of any."""
    held, rows = [], 0
    for batch in batches:
        while batch.num_rows:
            part = batch.slice(0, size - rows)
            held.append(part)
            rows, batch = rows + part.num_rows, batch.slice(part.num_rows)
            if rows == size:
                yield pa.Table.from_batches(held)
                held, rows = [], 0
    if rows:
        yield pa.Table.from_batches(held)


def _scored(scorer, table, path, group):
    try:
        return scorer(table)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{path}, row group {group}: {error}") from None


def _begin(output, folder, text, resume, force):
    """Makes the folder of parts ready; False if the output is there already, of the same run."""
    if folder.exists():
        foreign = [path for path in folder.iterdir() if not OWN.fullmatch(path.name)]
        if foreign:
            raise ValueError(f"{foreign[0]} is of no run: the folder is for parts, move it away")
    if resume and not force and output.exists() and _told(output) == text.encode():
        if folder.exists():  # the run was stopped while it removed the folder
            shutil.rmtree(folder)
        return False
    manifest = folder / "run.json"
    if manifest.exists() and not force:
        if not resume:
            raise ValueError(
                f"{folder} is of a run that was stopped: --resume goes on, --force begins anew"
            )
        if manifest.read_text() != text:
            raise ValueError(
                f"{folder} is of a run with another model, inputs or options; --force begins anew"
            )
        return True
    if output.exists() and not force:
        raise ValueError(f"{output} is there already; --force replaces it")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    _put(lambda to: to.write_text(text), manifest)
    return True


def _told(output):
    """What the metadata of a file says of the run that wrote it; None of all other files."""
    try:
        return (pq.read_schema(output).metadata or {}).get(KEY)
    except (pa.ArrowInvalid, OSError):  # the latter where its metadata are damaged
        return None
