"""The configuration as wandb's dashboard shows it."""

from aevb.training.loggers.wandb_config import dashboard_config


def test_dashboard_groups_by_short_names():
    asked = {
        "seed": 3,
        "model": {
            "_target_": "aevb.vae.VAE",
            "latent_dim": 2,
            "likelihood": {"_target_": "aevb.likelihoods.FixedGaussian", "_partial_": True, "sigma": 0.1},
            "prior": {"_target_": "my.Prior", "base": {"_target_": "my.BaseOfGLOW", "depth": 4}, "options": {"a": 1}},
        },
        "objective": {"_target_": "aevb.objectives.MonteCarloEM", "updates": 5},
        "callbacks": {"images": None, "metrics": {"_target_": "aevb.training.callbacks.Metrics", "every_samples": 9}},
    }
    assert dashboard_config(asked) == {
        "seed": 3,
        "model": {
            "latent_dim": 2,
            "likelihood": "fixed_gaussian",
            "likelihood_sigma": 0.1,
            "prior": "prior",
            "prior_base": "base_of_glow",
            "prior_base_depth": 4,
            "prior_options": {"a": 1},
        },
        "objective": "monte_carlo_em",
        "objective_updates": 5,
        "callbacks": {"images": None, "metrics": "metrics", "metrics_every_samples": 9},
    }
