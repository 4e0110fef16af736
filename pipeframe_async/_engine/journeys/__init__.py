"""Records that go alone: from one stage to the next, tied to a lane by their key, or tried again."""
