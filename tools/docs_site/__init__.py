"""What `tools/docs_hooks.py` adds to the site of docs/: pages of files elsewhere, and the commands' reference."""
