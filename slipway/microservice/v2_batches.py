"""V2 inferences among the requests that one call of ``predict`` answers together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from slipway.microservice.batches import Batches
from slipway.microservice.hooks import Answer
from slipway.microservice.inputs import Input
from slipway.microservice.service import Service
from slipway.microservice.v2_calls import ServedModel, input_of_request, response_of
from slipway.serving.v2_messages import InferRequest, InferResponse

T = TypeVar("T")


def batches_of(service: Service, hook: str) -> Batches | None:
    """Where an inference for ``hook`` waits for others; None where each is a call of its own."""
    takes_names = service.hooks.component.has("predict_named")  # each gets its tensors by their names
    return service.batches if hook == "predict" and not takes_names else None


class V2Job(Generic[T]):
    """One inference: read, asked, written. Its methods are called in a component thread, one after the other."""

    def __init__(
        self,
        model: ServedModel,
        read: Callable[[], InferRequest],
        write: Callable[[InferRequest, InferResponse, float], T],
    ) -> None:
        """``write`` makes a request, the answer to it and the component's milliseconds into the reply."""
        self._model = model
        self._read = read
        self._write = write
        self._request: InferRequest | None = None
        self._input: Input | None = None

    def parse(self) -> Input:
        """Raises ServingError for what is no inference, or none that an X stands for."""
        self._request = self._read()
        self._input = input_of_request(self._request)
        return self._input

    def render(self, answer: Answer, spent_ms: float) -> T:
        """Raises ServingError for an answer that has no form in this protocol."""
        if self._request is None or self._input is None:  # pragma: no cover - it is parsed before it is asked
            raise RuntimeError("rendered before it was parsed")
        features = self._input.features
        response = response_of(answer, "predict", self._request, self._model, features=features)
        return self._write(self._request, response, spent_ms)
