"""Definitions of the program that no worker can import, taken apart: what they are made of travels."""
