"""Lanes on a Dask cluster: a Dask task leases a thread of a Dask worker for one of our lanes, which lives there."""
