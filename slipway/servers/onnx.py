"""ONNX_SERVER: a graph in ``model.onnx``, run by ONNX Runtime. Its inputs and outputs have names, shapes and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.servers.base import ModelServer
from slipway.servers.errors import ModelFolderError, answer_of, mismatch
from slipway.servers.onnx_values import GraphValue, input_array, output_result, values_of
from slipway.servers.threads import thread_count

FILE = "model.onnx"
PROVIDERS = ("CPUExecutionProvider",)


class OnnxServer(ModelServer):
    """``output``: the one that answers over the seldon protocol; without it all do, as jsonData where they are several."""

    platform = "onnxruntime_onnx"

    def __init__(self, model_uri: str | None = None, output: str | None = None) -> None:
        super().__init__(model_uri)
        self.output = output
        self._session: Any = None
        self.inputs: tuple[GraphValue, ...] = ()
        self.outputs: tuple[GraphValue, ...] = ()

    def load(self) -> None:
        """Raises ModelFolderError where there is no graph that ONNX Runtime opens, or not the wanted output."""
        import onnxruntime

        super().load()
        path = self.folder.first_of([FILE])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle replicas share the machine
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=list(PROVIDERS))
        except Exception as exc:  # the runtime's own classes have no common base but this
            raise ModelFolderError(f"{path}: ONNX Runtime {onnxruntime.__version__} cannot open it: {exc}") from exc
        self.inputs, self.outputs = values_of(session.get_inputs()), values_of(session.get_outputs())
        if self.output is not None and self.output not in [value.name for value in self.outputs]:
            raise ModelFolderError(f"{path}: parameter output: {self.output!r} is not one of {_names(self.outputs)}")
        self._session = session

    def predict(self, X: Any, names: Sequence[Any], meta: Mapping[str, Any] | None = None) -> Any:
        """``X``: the one input; an object of inputs by name (jsonData); or columns with the inputs' names.

        Raises ServingError 400 for other names, shapes and types, 500 for what the graph raises.
        """
        wanted = [self.output] if self.output else [value.name for value in self.outputs]
        found = self._run(self._by_name(X, names), wanted)
        if len(found) == 1:
            return next(iter(found.values()))
        return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in found.items()}

    def predict_named(
        self, tensors: Mapping[str, Any], names: Sequence[Any], outputs: Sequence[str], meta: Mapping[str, Any]
    ) -> dict[str, Any]:
        """V2: every input by its name; a lone tensor of another name is the lone input."""
        known = [value.name for value in self.outputs]
        for name in outputs:
            if name not in known:
                raise mismatch(f"output {name[:80]!r} is none of the model's: {', '.join(known)}")
        if len(tensors) == 1 and len(self.inputs) == 1:
            tensors = {self.inputs[0].name: next(iter(tensors.values()))}
        return self._run(tensors, list(outputs) or known)

    def described(self) -> dict[str, Any]:
        """Inputs and outputs with datatype and shape; -1 is a size that the graph leaves open."""
        return {
            **super().described(),
            "inputs": [value.to_json() for value in self.inputs],
            "outputs": [value.to_json() for value in self.outputs],
        }

    def _by_name(self, X: Any, names: Sequence[Any]) -> Mapping[str, Any]:
        if isinstance(X, Mapping):
            return X
        if len(self.inputs) == 1:
            return {self.inputs[0].name: X}
        places = {str(name): index for index, name in enumerate(names)}
        if getattr(X, "ndim", 0) != 2 or {value.name for value in self.inputs} != places.keys():
            raise mismatch(
                f"the model has {len(self.inputs)} inputs ({_names(self.inputs)}): send jsonData with each by its name, "
                "or rows whose columns have these names"
            )
        columns = {name: X[:, [index]] for name, index in places.items()}
        return {value.name: columns[value.name].reshape(value.column_shape) for value in self.inputs}

    def _run(self, given: Mapping[str, Any], wanted: list[str]) -> dict[str, Any]:
        known = {value.name: value for value in self.inputs}
        if given.keys() != known.keys():
            raise mismatch(f"inputs {', '.join(sorted(map(str, given)))[:200]}: the model takes {_names(self.inputs)}")
        arrays = {name: input_array(known[name], value) for name, value in given.items()}
        results = answer_of(lambda: self._session.run(wanted, arrays))
        return {name: output_result(name, value) for name, value in zip(wanted, results, strict=True)}


def _names(values: Sequence[GraphValue]) -> str:
    return ", ".join(value.name for value in values)
