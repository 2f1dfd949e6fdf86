"""Priors p(z): one class each, chosen by `model/prior=`."""

from aevb.priors.base import Prior
from aevb.priors.flow import Flow
from aevb.priors.laplace import Laplace
from aevb.priors.mixture import MixtureOfGaussians
from aevb.priors.standard_normal import StandardNormal
from aevb.priors.student_t import StudentT
from aevb.priors.vamp import VampPrior

__all__ = ["Flow", "Laplace", "MixtureOfGaussians", "Prior", "StandardNormal", "StudentT", "VampPrior"]
