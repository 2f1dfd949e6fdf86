"""Every value of every key is checked by its own type."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from aevb.errors import ConfigError
from aevb.schemas import NARROWED, SCHEMAS
from aevb.settings import validate
from aevb.signatures import signature_of

CONF = Path(__file__).parents[1] / "conf"


def composed(program: str, *overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(program, list(overrides))
    if program == "train":
        config.paths.run = "run"
    return config


def test_the_keys_of_the_programs_are_those_of_their_configurations():
    for program, schema in SCHEMAS.items():
        assert set(composed(program)) | {"task"} == set(schema) | {"task"}


@pytest.mark.parametrize("name", NARROWED)
def test_narrowed_arguments_exist(name):
    if signature := signature_of(name):
        assert NARROWED[name].keys() <= signature.parameters.keys()
    else:
        schedulers = [
            f"lr_scheduler.{cls}" for cls in ("StepLR", "CosineAnnealingLR", "PolynomialLR", "ReduceLROnPlateau")
        ]
        classes = ["Adadelta", "Adagrad", "Adam", "RMSprop", "Rprop", "SGD", *schedulers]
        known = [signature_of(f"{name}.{cls}").parameters for cls in classes]
        assert NARROWED[name].keys() <= set().union(*known)


BAD = {
    "optimizer.lr=true": "optimizer.lr must be a positive number, a list of positive numbers or null, got true",
    "optimizer.lr=nan": "optimizer.lr must be a positive number, a list of positive numbers or null, got nan",
    "seeds=0": "seeds must be a whole number of at least 1 or null, got 0",
    "optimizer.lr=[0.1,0.2]": "optimizer.lr must be a number, or a list of one for each of seeds=1, got [0.1, 0.2]",
    "seeds=3 optimizer.lr=[0.1,0.2]": "optimizer.lr must be a number, or a list of one for each of seeds=3, got",
    "seeds=2 seed=4294967295": "seeds must be at most 1, as the last seed is below 2^32, got 2",
    "seeds=2 trainer.precision=16-mixed": "trainer.precision=16-mixed scales the loss of all seeds by one factor",
    "matmul_precision=half": "matmul_precision must be one of auto, highest, high, medium, got 'half'",
    "model.initialization=zeros": "model.initialization must be one of normal, xavier, pytorch, got 'zeros'",
    "+model.likelihood.width=3": "model.likelihood.width is not a setting of ContinuousBernoulli; it has none",
    "trainer.accelerator=abacus": "trainer.accelerator must be one of auto, cpu, gpu",
    "trainer.devices=0": "trainer.devices must be a whole number of at least 1, one of auto, -1 or",
    "optimizer.fused=abc": "optimizer.fused must be true, false or null, got 'abc'",
    "optimizer=adam optimizer.betas=[0.9]": "optimizer.betas must be a list of 2: a number from 0 to below 1",
    "objective.weight_prior=abc": "objective.weight_prior must be true or false, got 'abc'",
    "logger.wandb.offline=maybe": "logger.wandb.offline must be true, false or null, got 'maybe'",
    "logger.wandb.project=a/b": "logger.wandb.project must be a name of at most 128 characters without / ",
    "logger.wandb.project=": "logger.wandb.project must be a name of at most 128 characters without / ",
    "logger.wandb.entity=[a]": "logger.wandb.entity must be a name of at most 128 characters or null, got ['a']",
    "logger.wandb.tags=paper": "logger.wandb.tags must be a list of names of at most 64 characters, such as [paper,",
    "logger.wandb.tags=[1,true]": "logger.wandb.tags must be a list of names of at most 64 characters",
    "trainer.check_val_every_n_epoch=-1": "trainer.check_val_every_n_epoch must be a whole number of at least 1, got",
    "trainer.check_val_every_n_epoch=0": "trainer.check_val_every_n_epoch must be a whole number of at least 1, got 0",
    "trainer.max_time=abc": "trainer.max_time must be a text such as 00:01:30:00 (days:hours:minutes:seconds) or null",
    "trainer.max_epochs=abc": "trainer.max_epochs must be a whole number of at least 1, -1 or null, got 'abc'",
    "+trainer.limit_val_batches=0": "trainer.limit_val_batches must be a whole number of at least 1, a number",
    "+trainer.fast_dev_run=true": "trainer.fast_dev_run must be false (max_samples=1000 is a short run), got true",
    "+trainer.accumulate_grad_batches=2": "trainer.accumulate_grad_batches must be 1 (data.batch_size sets",
    "+trainer.logger=true": "trainer.logger is set by train.py itself; drop it",
    "+trainer.max_epoch=3": "trainer.max_epoch is not a setting of Trainer; did you mean max_epochs?",
    "callbacks=curve +callbacks.curve.estimator=abc": "callbacks.curve.estimator must be null or a part with",
    "+callbacks.curve.estimator=abc": "callbacks.curve must be a part with a _target_ or null, got",
    "callbacks.images=5": "callbacks.images must be a part with a _target_ or null, got 5",
    "max_samples=null": "max_samples must be given where trainer.max_epochs is not, as nothing ends the training",
    "data.batch_size=null": "data.batch_size must be a whole number of at least 1, got null",
    "data=array": "data.path must be given: data.path=…",
    "data=array data.path=gone.npy": "data.path: gone.npy does not exist",
    "data=array data.path=/": "data.path: / is not a regular file",
    "seed=4294967296": "seed must be a whole number from 0 to 4,294,967,295, got 4294967296",
    "seed=null": "seed must be a whole number from 0 to 4,294,967,295, got null",
    "learning_rate_search=null": "learning_rate_search must have learning_rate_search.candidates and "
    "learning_rate_search.samples",
    "learning_rate_search.candidates=[0]": "learning_rate_search.candidates must be a list of positive numbers, "
    "got [0]",
    "paths=null": "paths must have paths.data and paths.run, got null",
    "~optimizer": "optimizer must be given, but is not in the configuration; choose one by optimizer=<name>",
    "~paths.data": "paths.data must be given, but is not in the configuration",
    "model.encoder=null": "model.encoder must be a part with a _target_, got null",
    "model.likelihood._target_=aevb.likelihoods.Gausian": "model.likelihood._target_: there is no aevb.likelihoods."
    "Gausian; did you mean aevb.likelihoods.Gaussian?",
    "optimizer._target_=torch.optim.Adamm": "optimizer._target_: there is no torch.optim.Adamm; did you mean torch.op",
    "optimizer._target_=5": "optimizer._target_ must be a text, got 5",
    "optimizer._target_=nothing.Here": "optimizer._target_: there is no nothing.Here",
    "optimizer._partial_=yess": "optimizer._partial_ must be true or false, got 'yess'",
    "model/prior=conditional_gaussian": "model.prior: ConditionalGaussian needs a model that takes a condition, such "
    "as model=conditional; or choose another model/prior",
    "model=vq model/prior=standard_normal": "model.latent_dim is by default model.prior.code_dim, which StandardNormal "
    "does not have; set model.latent_dim, or choose other parts of the model",
    "model=music_vae data=digits": "model.likelihood: RecurrentTokens needs data of a number of bars, data=melodies",
    "data.seed=${nothing}": "data.seed: Interpolation key 'nothing' not found",
    "model.latent_dim=${metric}": "model.latent_dim must be a whole number from 1 to 10,000,000, got 'val/elbo'",
    "+colour=red": "colour is not a setting of train.py",
    "+paths.runs=x": "paths.runs is not a setting; did you mean run?",
}


@pytest.mark.parametrize("overrides", BAD)
def test_invalid_value_is_one_line_that_starts_with_its_key(overrides):
    words = overrides.split()
    config = composed("train", *(word for word in words if not word.startswith("paths") and word != "~paths.data"))
    if "paths=null" in words:
        config.paths = None
    if "~paths.data" in words:
        OmegaConf.set_struct(config, False)
        del config.paths["data"]
    with pytest.raises(ConfigError) as error:
        validate(config, "train")
    assert str(error.value).startswith(BAD[overrides])
    assert "\n" not in str(error.value)


GOOD = [
    "optimizer.lr=null",
    "optimizer.fused=null",
    "+optimizer.weight_decay=0",
    "max_samples=null trainer.max_epochs=3",
    "max_samples=null +trainer.max_time=00:00:01:00",
    "trainer.devices=auto",
    "+trainer.limit_val_batches=0.5",
    "+trainer.limit_val_batches=3",
    "callbacks.images=null",
    "callbacks={}",
    "logger.wandb.name=5 logger.wandb.tags=[2013,paper]",
    "logger=none",
    "model.latent_dim=${data.batch_size}",
    "model.encoder.hidden=[]",
    "sweep.name=2013",
    "callbacks=curve +callbacks.curve.estimator._target_=aevb.estimators.ELBO",
    "+callbacks.early={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/elbo}",
    "model.likelihood._target_=heads.MyHead +model.likelihood.anything=3",
]


@pytest.mark.parametrize("overrides", GOOD)
def test_a_good_value_passes(overrides, tmp_path, monkeypatch):
    (tmp_path / "heads.py").write_text("class MyHead:\n    def __init__(self, shape, anything=1): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    overrides = overrides.replace(": ", ":").replace(", ", ",")
    validate(composed("train", *overrides.split()), "train")


def test_annotations_of_a_users_own_class_are_used(tmp_path, monkeypatch):
    (tmp_path / "own_heads.py").write_text("class MyHead:\n    def __init__(self, shape, scale: float = 1.0): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = composed("train", "model.likelihood._target_=own_heads.MyHead", "+model.likelihood.scale=wide")
    with pytest.raises(ConfigError, match=r"^model\.likelihood\.scale must be a number, got 'wide'$"):
        validate(config, "train")


@pytest.mark.parametrize(
    ("program", "override", "message"),
    [
        ("evaluate", "split=tset", "split must be one of train, val, test, got 'tset'; did you mean test?"),
        ("evaluate", "device=tpu", "device must be one of auto, cpu, cuda, got 'tpu'"),
        ("evaluate", "checkpoint=first", "checkpoint must be one of best, last, got 'first'"),
        ("evaluate", "limit=0", "limit must be a whole number of at least 1 or null, got 0"),
        ("evaluate", "seed=-1", "seed must be"),
        (
            "evaluate",
            "+estimators.elbo.samples=3",
            "estimators.elbo.samples is not a setting of ELBO; did you mean num_",
        ),
        ("evaluate", "estimators=[]", "estimators must name at least one"),
        ("report", "parts=[tables]", "parts must be a list of one of table"),
        ("report", "metrics=5", "metrics must be"),
        ("report", "title=null", "title must be a text, got null"),
    ],
)
def test_other_programs_are_checked_too(program, override, message):
    config = composed(program, override, "run=x" if program == "evaluate" else "runs=x")
    with pytest.raises(ConfigError) as error:
        validate(config, program)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(("program", "key"), [("evaluate", "run"), ("report", "runs")])
def test_a_key_without_a_default_must_be_given(program, key):
    with pytest.raises(ConfigError, match=f"^{key} must be given: {key}=<run folder"):
        validate(composed(program), program)
