"""A class of a sub-module."""


class Model:
    def predict(self, X, names):
        return "from deep inside"
