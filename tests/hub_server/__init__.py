"""A small Hugging Face Hub on loopback, for tests that talk to it with the real clients."""
