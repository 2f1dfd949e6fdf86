"""Models on the Hugging Face hub: its mixin on this machine, and its client with a stand-in for its server."""

import filecmp
import os
import subprocess
import sys

import pytest

import aevb
from aevb.errors import ConfigError
from aevb.runs.exported import ZOO
from aevb.runs.hub import HubModel, download, push

from ..hub_server import hub_server

FILES = ("README.md", "config.json", "model.safetensors", "samples.png")


def test_model_is_saved_and_loaded_by_the_mixin(tmp_path):
    HubModel(ZOO / "digits").save_pretrained(tmp_path)
    assert filecmp.cmpfiles(ZOO / "digits", tmp_path, FILES, shallow=False)[0] == list(FILES)
    assert HubModel.from_pretrained(str(tmp_path)).folder == tmp_path
    assert aevb.load(tmp_path).p.latent_dim == 10


@pytest.mark.parametrize("function", [download, lambda name: push(ZOO / "digits", name)], ids=["download", "push"])
def test_failure_of_the_client_is_one_line(function, monkeypatch):
    def refuse(*args, **options):
        raise OSError("no network\nand more")

    monkeypatch.setattr("aevb.runs.hub.snapshot_download", refuse)
    monkeypatch.setattr(HubModel, "push_to_hub", refuse)
    monkeypatch.setattr(HubModel, "from_pretrained", refuse)
    with pytest.raises(ConfigError, match=r"user/name cannot be (down|up)loaded: no network$"):
        function("user/name")


@pytest.mark.slow
def test_model_goes_to_the_hub_and_comes_back(tmp_path):
    code = (
        "import aevb; from aevb.runs.exported import ZOO; from aevb.runs.hub import push; "
        "push(ZOO / 'digits', 'me/mine'); print(aevb.load('hf://me/mine').p.latent_dim)"
    )
    with hub_server() as (address, models):
        client = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_none", "HF_HUB_DISABLE_XET": "1"}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=os.environ | client, capture_output=True, text=True, timeout=200)
    assert done.stdout.splitlines()[-1:] == ["10"], done.stderr
    assert models["me/mine"].keys() >= set(FILES)
    assert models["me/mine"]["model.safetensors"] == (ZOO / "digits" / "model.safetensors").read_bytes()
