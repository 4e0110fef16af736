"""What waits → a worker → an answer: cut into batches when a lane has room, carried, and its remains put together."""
