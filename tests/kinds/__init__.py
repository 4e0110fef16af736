"""Behaviours by kind: what a whole class of programs may rely on, whoever's rooms it goes through."""
