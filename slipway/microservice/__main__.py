"""`python -m slipway.microservice`."""

from slipway.microservice.main import entry

entry()
