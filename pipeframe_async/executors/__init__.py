"""Where `def` steps run: one file per kind of executor, all behind `contracts.Executor`."""
