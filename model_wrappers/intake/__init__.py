"""Untrusted photos: looked at, decoded and letterboxed where they can do no harm."""

from model_wrappers.intake.errors import PhotoError
from model_wrappers.intake.pool import DecoderPool, Prepared
from model_wrappers.intake.request import Preparation

__all__ = ["DecoderPool", "PhotoError", "Preparation", "Prepared"]
