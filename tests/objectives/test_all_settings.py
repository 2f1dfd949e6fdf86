"""The objectives' settings: bad ones stop with one line that names the key, and the configuration names all of them."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from aevb import objectives
from aevb.objectives import (
    DIPVAE,
    IWAE,
    SGVB,
    BetaTCVAE,
    FactorVAE,
    FullVB,
    HamiltonianVAE,
    InfoVAE,
    MonteCarloEM,
    Objective,
    ScoreFunction,
    SemiSupervised,
    WakeSleep,
)

CONF = Path(__file__).parents[2] / "conf" / "objective"
CLASSES = (
    DIPVAE, IWAE, SGVB, BetaTCVAE, FactorVAE, FullVB, HamiltonianVAE, InfoVAE, MonteCarloEM, ScoreFunction,
    SemiSupervised, WakeSleep,
)  # fmt: skip

BAD: list[tuple[type[Objective], dict[str, Any]]] = [
    (SGVB, {"num_samples": 0}),
    (SGVB, {"beta": -1}),
    (SGVB, {"beta_warmup_samples": -1}),
    (SGVB, {"capacity": -1.0}),
    (IWAE, {"num_samples": 0}),
    (IWAE, {"num_groups": 0}),
    (IWAE, {"elbo_weight": 1.5}),
    (FactorVAE, {"gamma": -1.0}),
    (FactorVAE, {"discriminator_layers": 0}),
    (HamiltonianVAE, {"leapfrog_steps": -1}),
    (HamiltonianVAE, {"step_size": 0.0}),
    (HamiltonianVAE, {"inverse_temperature": 1.5}),
    (ScoreFunction, {"baseline_hidden": 0}),
    (ScoreFunction, {"baseline_decay": 1.0}),
    (WakeSleep, {"num_samples": -3}),
    (MonteCarloEM, {"num_starts": 0}),
    (MonteCarloEM, {"transitions": 3}),
    (MonteCarloEM, {"leapfrog_steps": 0}),
    (MonteCarloEM, {"target_acceptance": 1.0}),
    (MonteCarloEM, {"updates": 0}),
    (MonteCarloEM, {"evaluation_transitions": 0}),
    (BetaTCVAE, {"beta": -1.0}),
    (InfoVAE, {"bandwidth": 0}),
    (FullVB, {"num_samples": 0}),
    (FullVB, {"num_weight_samples": 0}),
    (FullVB, {"initial_scale": 0}),
]


@pytest.mark.parametrize(("objective", "settings"), BAD, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_bad_setting_is_named(objective: type[Objective], settings: dict[str, Any]) -> None:
    key = next(iter(settings))
    with pytest.raises(ValueError, match=rf"^{key} must be .*got ") as caught:
        objective(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("objective", CLASSES)
def test_each_setting_has_a_type(objective: type[Objective]) -> None:
    for key in inspect.signature(objective).parameters:
        with pytest.raises(ValueError, match=rf"^{key} must be .*, got \{{'no': 1\}}$"):
            objective(**{key: {"no": 1}})


def test_leave_one_out_says_why_it_wants_two_samples() -> None:
    with pytest.raises(ValueError, match=r"at least 2 with baseline=leave_one_out, got 1"):
        ScoreFunction(baseline="leave_one_out")


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_configuration_has_all_settings_at_their_defaults(file: Path) -> None:
    settings = OmegaConf.to_container(OmegaConf.load(file))
    settings.pop("defaults", None)
    module, name = settings.pop("_target_").rsplit(".", 1)
    assert module == "aevb.objectives"
    parameters = inspect.signature(getattr(objectives, name)).parameters
    assert settings == {key: parameter.default for key, parameter in parameters.items()}


def test_each_objective_has_a_configuration() -> None:
    targets = {OmegaConf.load(file)["_target_"] for file in CONF.glob("*.yaml")}
    assert targets == {f"aevb.objectives.{objective.__name__}" for objective in CLASSES}


@pytest.mark.parametrize("objective", CLASSES)
def test_each_objective_documents_its_source_and_arguments(objective: type[Objective]) -> None:
    text = inspect.getdoc(objective)
    assert text is not None
    assert "Source" in text
    assert all(f"{name}:" in text for name in inspect.signature(objective).parameters)


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_page_on_objectives_names_each_and_its_settings(file: Path) -> None:
    page = (CONF.parents[1] / "docs" / "objectives.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| `{file.stem}`"))
    settings = set(OmegaConf.load(file)) - {"_target_", "defaults", "weight_prior"}
    assert all(f"`{setting}`" in row for setting in settings)
