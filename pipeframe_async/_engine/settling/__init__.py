"""Taken → final: permits are released, handles answered, the watermark moved. The one place where that happens."""
