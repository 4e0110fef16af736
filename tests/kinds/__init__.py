"""Kinds of faults that were met in the field, each with the value that is right. One file a kind."""
