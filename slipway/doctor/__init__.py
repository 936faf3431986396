"""Looks at a cluster, or at one machine, with requests that change nothing, and says what to fix.

``look.look`` asks, ``findings.findings`` decides: a pure function from the facts to what is said of them.
"""
