"""Objectives: estimators of a bound on log p(x), one file per family, chosen by `objective=`."""

from aevb.objectives.base import Estimate, Objective, elbo
from aevb.objectives.factor import FactorVAE
from aevb.objectives.full_vb import FullVB
from aevb.objectives.hamiltonian import HamiltonianVAE
from aevb.objectives.iwae import IWAE
from aevb.objectives.monte_carlo_em import MonteCarloEM
from aevb.objectives.regularized import DIPVAE, BetaTCVAE, InfoVAE
from aevb.objectives.score_function import ScoreFunction
from aevb.objectives.semi_supervised import SemiSupervised
from aevb.objectives.sgvb import SGVB
from aevb.objectives.wake_sleep import WakeSleep

__all__ = [
    "DIPVAE",
    "IWAE",
    "SGVB",
    "BetaTCVAE",
    "Estimate",
    "FactorVAE",
    "FullVB",
    "HamiltonianVAE",
    "InfoVAE",
    "MonteCarloEM",
    "Objective",
    "ScoreFunction",
    "SemiSupervised",
    "WakeSleep",
    "elbo",
]
