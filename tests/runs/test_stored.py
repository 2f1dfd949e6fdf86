"""The stored configuration: plain when written, refused when it asks for more, and bound to its folder."""

import pytest
from omegaconf import OmegaConf

from aevb.errors import ConfigError
from aevb.runs.stored import confine, read_config, relocate, resolved, stored_text, with_changes


@pytest.fixture
def stored(tmp_path):
    """Write a stored configuration and read it."""

    def call(content):
        file = tmp_path / "config.yaml"
        file.write_text(content if isinstance(content, str) else OmegaConf.to_yaml(OmegaConf.create(content)))
        return read_config(file, tmp_path)

    return call


def test_stored_configuration_has_no_interpolations(stored, monkeypatch):
    monkeypatch.setenv("PLACE", "/there")
    config = OmegaConf.create(
        {
            "seed": 3,
            "data": {"seed": "${seed}", "root": "${oc.env:PLACE}", "hidden": [1, "${seed}"]},
            "literal": "\\${oc.env:PLACE} and \\\\${seed}",
        }
    )
    text = stored_text(config)
    monkeypatch.setenv("PLACE", "elsewhere")
    read = stored(text)
    assert OmegaConf.to_container(read, resolve=True) == OmegaConf.to_container(
        OmegaConf.create(
            {
                "seed": 3,
                "data": {"seed": 3, "root": "/there", "hidden": [1, 3]},
                "literal": "\\${oc.env:PLACE} and \\\\${seed}",
            }
        ),
        resolve=True,
    ) | {"literal": config.literal}
    assert stored_text(read) == text


def test_unresolvable_interpolation_is_not_stored(monkeypatch):
    monkeypatch.delenv("NOTHING", raising=False)
    with pytest.raises(ConfigError, match=r"data.path: .*NOTHING") as error:
        resolved(OmegaConf.create({"data": {"path": "${oc.env:NOTHING}"}}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:SECRET}",
        "x${oc.env:SECRET}",
        "${oc.decode:${oc.env:SECRET}}",
        "${oc.env:AEVB_DATA_DIR,data}",
        "${run_folder:null,/tmp/made}",
        "${data.b}",
        "\\\\${oc.env:SECRET}",
        "${",
    ],
)
@pytest.mark.parametrize("place", ["a", "data.urls.0", "model.likelihood._target_", "paths.data"])
def test_interpolation_in_a_stored_configuration_is_refused_and_not_resolved(stored, monkeypatch, value, place):
    monkeypatch.setenv("SECRET", "hunter2")
    content = {"a": 1, "data": {"urls": ["x"]}, "model": {"likelihood": {"_target_": "x"}}, "paths": {"data": "x"}}
    keys = place.split(".")
    node = content
    for key in keys[:-1]:
        node = node[key]
    node[int(keys[-1]) if isinstance(node, list) else keys[-1]] = value
    import yaml

    with pytest.raises(ConfigError, match=f"{place} is an interpolation") as error:
        stored(yaml.safe_dump(content))
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        "model: 5",
        "data: null",
        "logger: [a]",
        "model: {likelihood: {_target_: [os.system]}}",
        "model: {likelihood: {_target_: aevb.likelihoods.Bernoulli, _args_: [/etc/passwd]}}",
        "- a",
        "text",
        "",
    ],
)
def test_configuration_of_another_form_is_refused(stored, content):
    with pytest.raises(ConfigError, match=r"config.yaml"):
        stored(content)


def test_relocate_replaces_the_folders_of_run_and_data(tmp_path, monkeypatch):
    monkeypatch.delenv("AEVB_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    content = {
        "paths": {"run": "/old/run", "data": "/old/data"},
        "data": {"root": "/home/you"},
        "logger": {"folder": "/old/run", "save_dir": "/old/run/logs"},
        "callbacks": {"a": {"folder": "/old/run/b"}},
    }
    config = OmegaConf.create(content)
    relocate(config, "/new", None)
    assert config.data.root == config.paths.data == str(tmp_path / "data")
    assert config.paths.run == config.logger.folder == "/new"
    assert (config.logger.save_dir, config.callbacks.a.folder) == ("/new/logs", "/new/b")
    (tmp_path / "kept" / "MNIST").mkdir(parents=True)
    config.paths.data = str(tmp_path / "kept")
    relocate(config, "/new", None)
    assert config.data.root == str(tmp_path / "kept")
    monkeypatch.setenv("AEVB_DATA_DIR", "/mine")
    relocate(config, "/new", None)
    assert config.data.root == "/mine"
    relocate(config, "/new", "/said")
    assert config.data.root == "/said"


WANDB = {"_target_": "aevb.training.loggers.WandbLogger", "project": "aevb", "entity": None, "offline": None}
COMMAND = {"paths": {"run": None, "data": "data"}, "logger": {"wandb": WANDB | {"log_model": False}}, "data": {}}


def confined(tmp_path, stored, **command):
    stored = OmegaConf.create(stored)
    return stored, confine(stored, OmegaConf.create(COMMAND | {"paths": {"run": str(tmp_path), "data": "d"}} | command))


@pytest.mark.parametrize(
    "key",
    [
        "logger.save_dir=/elsewhere",
        "logger.save_dir=relative",
        "logger.name=../../elsewhere",
        "logger.version=/elsewhere",
        "logger.tracking_uri=http://example.com",
        "callbacks.images.folder=/elsewhere",
        "callbacks.images.folder=pictures",
        "callbacks.more.dirpath=s3://bucket/x",
        "trainer.default_root_dir=/elsewhere",
        "trainer.profiler.dirpath=..",
    ],
)
def test_paths_outside_of_the_run_folder_are_refused_unless_the_command_names_them(tmp_path, key):
    stored = OmegaConf.from_dotlist([key])
    with pytest.raises(ConfigError, match=f"is outside of the run folder .*add {key}"):
        confined(tmp_path, stored)
    section = key.split(".")[0]
    said = OmegaConf.merge({"logger": {}, "callbacks": {}, "trainer": {}}, stored)
    confined(tmp_path, stored, **{section: said[section]} | ({} if section == "logger" else {"logger": {}}))


def test_paths_inside_of_the_run_folder_are_kept(tmp_path):
    stored = {
        "logger": {"save_dir": str(tmp_path / "logs"), "name": "a/b"},
        "callbacks": {"x": {"monitor": "val/elbo"}},
    }
    assert confined(tmp_path, stored) == (OmegaConf.create(stored), [])


@pytest.mark.parametrize(
    ("stored", "command", "offline"),
    [
        ({}, {}, None),
        ({"offline": True}, {}, True),
        ({"offline": False}, {}, None),
        ({"project": "theirs"}, {}, True),
        ({"entity": "they"}, {}, True),
        ({"entity": "they", "offline": False}, {}, True),
        ({"entity": "me"}, {"entity": "me"}, None),
        ({"entity": "me"}, {"entity": "me", "offline": False}, False),
        ({}, {"_target_": "pytorch_lightning.loggers.CSVLogger"}, True),
    ],
)
def test_stored_logger_sends_only_where_the_command_sends(tmp_path, stored, command, offline):
    config, notes = confined(
        tmp_path, {"logger": {"wandb": WANDB | {"log_model": True} | stored}}, logger={"wandb": WANDB | command}
    )
    assert config.logger.wandb.offline is offline
    assert config.logger.wandb.log_model is False
    assert len(notes) == (offline is True and stored.get("offline") is not True)


def test_urls_of_a_stored_configuration_are_those_of_the_command_or_none(tmp_path):
    urls = {"data": {"urls": ["http://example.com/x"]}}
    assert "urls" not in confined(tmp_path, urls)[0].data
    assert "urls" in confined(tmp_path, urls, **urls)[0].data


def test_resumed_run_has_the_changes_of_the_command(tmp_path):
    command = OmegaConf.create(COMMAND | {"paths": {"run": str(tmp_path), "data": "d"}, "model": {}, "seed": 1})
    command.max_samples = 20
    stored = resolved(OmegaConf.merge(command, {"seed": 7, "max_samples": 10, "logger": {}, "model": {}}))
    config, _ = with_changes(stored, command, ["max_samples"])
    assert (config.seed, config.max_samples) == (7, 20)
    assert config.paths.run == str(tmp_path)


def test_module_of_earlier_versions_is_left_out(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 1\nmodule: {_target_: aevb.training.module.AEVB, seed: 1}\n")
    assert read_config(tmp_path / "config.yaml", tmp_path) == {"seed": 1}
