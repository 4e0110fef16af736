"""aiostream on both sides: its streams as feeds, its operators on results, and the package without it."""
