"""Reads the file that wandb writes offline: LevelDB's log format, each entry a protobuf record."""

import json
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK_SIZE = 32768
FILE_HEADER_SIZE = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def entries(data: bytes) -> Iterator[bytes]:
    """The entries of a log, joined from their fragments."""
    position, entry = FILE_HEADER_SIZE, b""
    while position + 7 <= len(data):
        if BLOCK_SIZE - position % BLOCK_SIZE < 7:  # no header fits: the block ends with padding
            position += BLOCK_SIZE - position % BLOCK_SIZE
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        position += 7
        entry += data[position : position + length]
        position += length
        if kind in (FULL, LAST):
            yield entry
            entry = b""


def read_offline_run(folder: Path, patience: float = 20.0) -> list[Record]:
    """The records of the only offline wandb run of a run folder.

    wandb's own process may still be writing for a moment after `finish` has returned; its last record is the exit.
    """
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    deadline = time.monotonic() + patience
    while True:
        records = [Record.FromString(entry) for entry in entries(file.read_bytes())]
        if any(record.HasField("exit") for record in records) or time.monotonic() > deadline:
            return records
        time.sleep(0.05)


def run_of(folder: Path) -> Any:
    """The record of the only offline wandb run of a run folder: its id, name, group, job type and tags."""
    (run,) = [record.run for record in read_offline_run(folder) if record.HasField("run")]
    return run


def config_of(folder: Path) -> dict[str, Any]:
    """The configuration of the only offline wandb run of a run folder."""
    records = read_offline_run(folder)
    config: dict[str, Any] = {}
    for items in [run_of(folder).config.update, *(r.config.update for r in records if r.HasField("config"))]:
        config |= values(items)
    return config


def exit_code(folder: Path) -> int:
    """The exit code with which the only offline wandb run of a run folder ended."""
    (ended,) = [record.exit for record in read_offline_run(folder) if record.HasField("exit")]
    return ended.exit_code


def values(items: Iterable[Any]) -> dict[str, Any]:
    """Keys and decoded values of a record's items; nested keys become nested dictionaries."""
    found: dict[str, Any] = {}
    for item in items:
        *parents, key = [item.key] if item.key else item.nested_key
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = json.loads(item.value_json)
    return found
