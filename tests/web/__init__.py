"""The web app of the examples, over real HTTP under uvicorn."""
