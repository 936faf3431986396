"""A ValidatingAdmissionPolicy asked about an object, as an API server asks it: its match, its variables, its rules in CEL."""

from __future__ import annotations

from typing import Any

from celpy import celtypes
from celpy.adapter import json_to_cel

from tests.crd.cel import program

Object = dict[str, Any]


def refused(policy: Object, binding: Object, namespace: Object, obj: Object, resource: str = "pods") -> list[str]:
    """The messages of the rules that do not hold; none where the policy does not look at the object at all."""
    verb = "UPDATE" if "/" in resource else "CREATE"  # a subresource changes what is there
    rules = policy["spec"]["matchConstraints"]["resourceRules"]
    wanted = binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"]
    is_asked = any(resource in rule["resources"] and verb in rule["operations"] for rule in rules)
    is_bound = binding["spec"]["policyName"] == policy["metadata"]["name"]
    is_there = wanted.items() <= namespace["metadata"]["labels"].items()
    if not (is_asked and is_bound and is_there and "Deny" in binding["spec"]["validationActions"]):
        return []
    variables = celtypes.MapType()
    context: dict[str, Any] = {
        "object": json_to_cel(obj),
        "namespaceObject": json_to_cel(namespace),
        "variables": variables,
    }
    for variable in policy["spec"]["variables"]:
        found = program(variable["expression"]).evaluate(context)
        variables[celtypes.StringType(variable["name"])] = found
    return [
        rule["message"] for rule in policy["spec"]["validations"] if not program(rule["expression"]).evaluate(context)
    ]
