"""Damage to run folders: `CASES` has what each case does, and the programs that must refuse it."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import torch
import yaml

ESCAPE = "\x1b]0;title\x07\x1b[31m"
DEEP = 100_000

ALL = ("load", "evaluate", "report", "resume")
MODEL = ("load", "evaluate", "resume")


class Exploit:
    """Unpickling it leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def config(path, **values):
    """Set values of the stored configuration, by their full keys with / in place of dots."""
    file = path / ".hydra" / "config.yaml"
    content = yaml.safe_load(file.read_text())
    for key, value in values.items():
        *parents, last = key.split("/")
        node = content
        for parent in parents:
            node = node.setdefault(parent, {}) if isinstance(node, dict) else node[int(parent)]
        node[last] = value
    file.write_text(yaml.safe_dump(content))


def checkpoint(path, change, names=("best", "last")):
    """Change the checkpoints."""
    for name in names:
        file = path / "checkpoints" / f"{name}.ckpt"
        content = torch.load(file, weights_only=True)
        torch.save(change(content) or content, file)


def text(path, name, content):
    """Replace a file."""
    file = path / name
    file.unlink(missing_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


def pipe(path, name):
    (path / name).unlink(missing_ok=True)
    os.mkfifo(path / name)


def link(path, name, target):
    """Put a link in the place of a file or folder."""
    file = path / name
    if file.is_dir() and not file.is_symlink():
        if not any(target.iterdir()):
            shutil.copytree(file, target, dirs_exist_ok=True)
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)
    file.symlink_to(target)


def folder_in_place(path, name):
    (path / name).unlink()
    (path / name).mkdir()


def status(**values):
    return json.dumps({"id": "0", "state": "finished", "samples": 1000} | values)


def compress(path):
    """A checkpoint that inflates to gigabytes."""
    file = path / "checkpoints" / "best.ckpt"
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.writestr("archive/data/bomb", bytes(200 << 20))
    shutil.copy(file, file.with_name("last.ckpt"))


def widen(content):
    weights = content["state_dict"]
    name = next(iter(weights))
    weights[name] = torch.zeros(1).expand(1 << 40)


def truncate(path):
    for file in (path / "checkpoints").iterdir():
        file.write_bytes(file.read_bytes()[:1000])


ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))

# Name → (the programs that must refuse the folder, what is done to it in `path`; `out` is a folder outside of it).
CASES = {
    # Interpolations
    "secret in a number": (ALL, lambda path, out: config(path, **{"model/latent_dim": "${oc.env:SECRET}"})),
    "secret in a url": (ALL, lambda path, out: config(path, **{"data/urls": ["http://a.example/${oc.env:SECRET}"]})),
    "secret in a logger": (ALL, lambda path, out: config(path, **{"logger/name": "x${oc.env:SECRET}"})),
    "resolver that makes folders": (ALL, lambda path, out: config(path, seed="${run_folder:null," + f"{out}/made}}")),
    "unknown resolver": (ALL, lambda path, out: config(path, seed="${nothing:1}")),
    "reference": (ALL, lambda path, out: config(path, seed="${seed}")),
    "half an interpolation": (ALL, lambda path, out: config(path, metric="${")),
    # Form of the configuration
    "aliases": (ALL, lambda path, out: text(path, ".hydra/config.yaml", ALIASES)),
    "nested configuration": (ALL, lambda path, out: text(path, ".hydra/config.yaml", "[" * DEEP + "]" * DEEP)),
    "yaml tag": (ALL, lambda path, out: text(path, ".hydra/config.yaml", f"a: !!python/name:os.system {out}")),
    "no utf-8": (ALL, lambda path, out: text(path, ".hydra/config.yaml", b"a: \xff")),
    "empty configuration": (ALL, lambda path, out: text(path, ".hydra/config.yaml", "")),
    "list": (ALL, lambda path, out: text(path, ".hydra/config.yaml", "[1]")),
    "huge configuration": (ALL, lambda path, out: text(path, ".hydra/config.yaml", "a: 1\n" + "#" * (1 << 20))),
    "pipe as configuration": (ALL, lambda path, out: pipe(path, ".hydra/config.yaml")),
    "folder as configuration": (ALL, lambda path, out: folder_in_place(path, ".hydra/config.yaml")),
    "link to a secret": (ALL, lambda path, out: link(path, ".hydra/config.yaml", out / "secret")),
    "escapes in a value": (ALL, lambda path, out: config(path, metric=ESCAPE)),
    "no model": (ALL, lambda path, out: config(path, model=None)),
    "text as data": (ALL, lambda path, out: config(path, data="x")),
    # Parts
    "os.system": (MODEL, lambda path, out: config(path, **{"model/likelihood/_target_": "os.system"})),
    "os.system as callback": (
        ("resume",),
        lambda path, out: config(path, **{"callbacks/x": {"_target_": "os.system"}}),
    ),
    "function of aevb": (MODEL, lambda path, out: config(path, **{"model/prior/_target_": "aevb.files.atomic_write"})),
    "no part of a model": (MODEL, lambda path, out: config(path, **{"model/prior/_target_": "aevb.data.Digits"})),
    "list as class": (ALL, lambda path, out: config(path, **{"model/prior/_target_": ["os.system"]})),
    "arguments by position": (ALL, lambda path, out: config(path, **{"data/_args_": [str(out)]})),
    "another logger": (
        ("resume",),
        lambda path, out: config(
            path, logger={"_target_": "pytorch_lightning.loggers.MLFlowLogger", "tracking_uri": "http://a.example"}
        ),
    ),
    "logger outside": (
        ("resume",),
        lambda path, out: config(
            path, logger={"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": str(out), "name": "x"}
        ),
    ),
    "logger that climbs": (
        ("resume",),
        lambda path, out: config(
            path, logger={"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": str(path), "name": "../out"}
        ),
    ),
    "pictures outside": (
        ("resume",),
        lambda path, out: config(
            path, **{"callbacks/more": {"_target_": "aevb.training.callbacks.Images", "folder": str(out)}}
        ),
    ),
    "checkpoints outside": (
        ("resume",),
        lambda path, out: config(
            path,
            **{"callbacks/x": {"_target_": "pytorch_lightning.callbacks.ModelCheckpoint", "dirpath": str(out)}},
        ),
    ),
    # Sizes
    "huge latent space": (MODEL, lambda path, out: config(path, **{"model/latent_dim": 10**9})),
    "absurd latent space": (MODEL, lambda path, out: config(path, **{"model/latent_dim": 10**18})),
    "negative latent space": (MODEL, lambda path, out: config(path, **{"model/latent_dim": -1})),
    "latent space of text": (ALL, lambda path, out: config(path, **{"model/latent_dim": "many"})),
    "number of 100 digits": (ALL, lambda path, out: config(path, seed=10**100)),
    "huge layers": (MODEL, lambda path, out: config(path, **{"model/encoder/hidden": [10**8, 10**8]})),
    "many layers": (ALL, lambda path, out: config(path, **{"model/encoder/hidden": [8] * 20_000})),
    "huge data": (MODEL, lambda path, out: config(path, **{"model/data_shape": [10**6, 10**6]})),
    "pipe as data": (
        ("evaluate", "resume"),
        lambda path, out: (
            pipe(path, "x.npy"),
            config(path, **{"data/_target_": "aevb.data.Array", "data/path": str(path / "x.npy")}),
        ),
    ),
    # status.json
    "empty status": (("report", "resume"), lambda path, out: text(path, "status.json", "")),
    "null status": (("report", "resume"), lambda path, out: text(path, "status.json", "null")),
    "nested status": (("report", "resume"), lambda path, out: text(path, "status.json", "[" * DEEP + "]" * DEEP)),
    "status of text": (("report", "resume"), lambda path, out: text(path, "status.json", status(samples="1000"))),
    "results of text": (("report", "resume"), lambda path, out: text(path, "status.json", status(results="good"))),
    "huge number in status": (
        ("report", "resume"),
        lambda path, out: text(path, "status.json", status(samples=10**99)),
    ),
    "endless results": ((), lambda path, out: text(path, "status.json", status(results={"test/elbo": float("inf")}))),
    "escapes in an error": ((), lambda path, out: text(path, "status.json", status(state="failed", error=ESCAPE))),
    "run id that climbs": (("report", "resume"), lambda path, out: text(path, "status.json", status(id="../../out"))),
    "pipe as status": (("evaluate", "report", "resume"), lambda path, out: pipe(path, "status.json")),
    "link to a status": (("evaluate", "report", "resume"), lambda path, out: link(path, "status.json", out / "secret")),
    # metrics.csv
    "other metrics": (("report", "resume"), lambda path, out: text(path, "metrics.csv", "epoch,loss\n1,2\n")),
    "samples of text": (("report",), lambda path, out: text(path, "metrics.csv", "samples,val/elbo\nmany,2\n")),
    "huge samples": (("report",), lambda path, out: text(path, "metrics.csv", f"samples,a\n{'9' * 5000},2\n")),
    "huge metrics": ((), lambda path, out: text(path, "metrics.csv", "samples,val/elbo\n1,1e400\n2,1e300\n3,nan\n")),
    "escapes in a column": (
        ("report", "resume"),
        lambda path, out: text(path, "metrics.csv", f"samples,{ESCAPE}\n1,2\n"),
    ),
    "device as metrics": (ALL[1:], lambda path, out: link(path, "metrics.csv", Path("/dev/zero"))),
    # evaluation.json
    "evaluation of text": (("evaluate", "report"), lambda path, out: text(path, "evaluation.json", '{"entries": "x"}')),
    "nested evaluation": (("evaluate", "report"), lambda path, out: text(path, "evaluation.json", "[" * DEEP)),
    "elbo of text": (
        ("evaluate", "report"),
        lambda path, out: text(path, "evaluation.json", '{"entries": [{"estimator": "elbo", "value": "high"}]}'),
    ),
    "pipe as evaluation": (("evaluate", "report", "resume"), lambda path, out: pipe(path, "evaluation.json")),
    # overrides.yaml
    "damaged overrides": (("report",), lambda path, out: text(path, ".hydra/overrides.yaml", "- a b = [\n")),
    "overrides of numbers": (("report",), lambda path, out: text(path, ".hydra/overrides.yaml", "[1, 2]")),
    "formula": ((), lambda path, out: text(path, ".hydra/overrides.yaml", json.dumps(["a='$x$'", "b='<script>'"]))),
    # Checkpoints
    "pickle": (
        MODEL,
        lambda path, out: checkpoint(path, lambda content: {**content, "state_dict": Exploit(out / "executed")}),
    ),
    "half a checkpoint": (MODEL, lambda path, out: truncate(path)),
    "compressed checkpoint": (MODEL, lambda path, out: compress(path)),
    "tensor larger than its file": (MODEL, lambda path, out: checkpoint(path, widen)),
    "pipe as checkpoint": (MODEL, lambda path, out: [pipe(path, f"checkpoints/{n}.ckpt") for n in ("best", "last")]),
    "folder as checkpoint": (
        MODEL,
        lambda path, out: [folder_in_place(path, f"checkpoints/{n}.ckpt") for n in ("best", "last")],
    ),
    "checkpoint without weights": (MODEL, lambda path, out: checkpoint(path, lambda content: {"samples": 3})),
    "weights of text": (MODEL, lambda path, out: checkpoint(path, lambda content: content["state_dict"].update(a="x"))),
    "samples below zero": (MODEL, lambda path, out: checkpoint(path, lambda content: content.update(samples=-1))),
    "no loops": (("resume",), lambda path, out: checkpoint(path, lambda content: content.pop("loops") and None)),
    "other optimizer": (
        ("resume",),
        lambda path, out: checkpoint(path, lambda content: content.update(optimizer_states=[{"state": 3}])),
    ),
    "weights that are no numbers": (
        MODEL,
        lambda path, out: checkpoint(
            path, lambda content: [weight.fill_(float("nan")) for weight in content["state_dict"].values()] and None
        ),
    ),
    # Links out of the folder
    "link as lock": (("resume", "evaluate"), lambda path, out: link(path, ".lock", out / "precious")),
    "link as log": (("resume", "evaluate"), lambda path, out: link(path, "train.log", out / "precious")),
    "link as pictures": (("resume", "evaluate"), lambda path, out: link(path, "images", out)),
    "link as checkpoints": (MODEL, lambda path, out: link(path, "checkpoints", out / "empty")),
    "link as .hydra": (ALL, lambda path, out: link(path, ".hydra", out / "empty")),
    "link as evaluation": (("resume", "evaluate"), lambda path, out: link(path, "evaluation", out)),
    "link as wandb": (("resume", "evaluate"), lambda path, out: link(path, "wandb", out)),
    "link to nothing": (("resume", "evaluate"), lambda path, out: link(path, "images", out / "nothing")),
    "hard link": (
        ("resume", "evaluate"),
        lambda path, out: ((path / "train.log").unlink(missing_ok=True), os.link(out / "precious", path / "train.log")),
    ),
}
SHORT = (
    "secret in a url", "resolver that makes folders", "aliases", "os.system", "pictures outside", "huge latent space",
    "nested status", "device as metrics", "elbo of text", "pickle", "no loops", "link as lock", "hard link",
)  # fmt: skip
