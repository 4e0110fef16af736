"""Records that go alone: from one run of steps to the next, tied to a lane by their key, or tried again."""
