"""Prepackaged servers: component classes that serve a model folder of a known form, with nothing to write."""
