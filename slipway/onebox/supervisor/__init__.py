"""Processes of one machine: what should run, what runs, and the steps between."""
