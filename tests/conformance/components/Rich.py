"""A component with every extra that shows in a reply."""

from seldon_core.user_model import SeldonComponent, SeldonResponse


class Rich(SeldonComponent):
    def __init__(self, scale=1.0, label="none", count=0, on=False):
        super().__init__()
        self.parameters = {"scale": scale, "label": label, "count": count, "on": on}
        self.loads = 0

    def load(self):
        self.loads += 1

    def predict(self, X, names, meta=None):
        metrics = [{"type": "GAUGE", "key": "runtime", "value": 3}]
        return SeldonResponse([[0.25, 0.75]], tags={"runtime": "yes", "shared": "runtime"}, metrics=metrics)

    def transform_input(self, X, names, meta=None):
        return SeldonResponse(self.parameters)

    def send_feedback(self, X, names, reward, truth, routing=None):
        return [reward, -1 if routing is None else routing]

    def tags(self):
        return {"own": "tag", "shared": "own"}

    def metrics(self):
        return [{"type": "COUNTER", "key": "calls", "value": 1, "tags": {"kind": "a"}},
                {"type": "TIMER", "key": "took", "value": 20.5}]  # fmt: skip

    def class_names(self):
        return ["cat", "dog"]

    def init_metadata(self):
        return {"name": "rich", "versions": ["7"], "platform": "test",
                "inputs": [{"messagetype": "tensor", "schema": {"names": ["a"], "shape": [2]}}],
                "outputs": [{"name": "o", "datatype": "FP32", "shape": [1, 2]}], "custom": {"k": "v"}}  # fmt: skip
