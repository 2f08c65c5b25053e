"""Kantata OX as a PSA: REST API v1."""

from adapters.kantata.adapter import Kantata, build_kantata
from adapters.kantata.config import KantataConfig

__all__ = ["Kantata", "KantataConfig", "build_kantata"]
