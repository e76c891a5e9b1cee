"""What is no test here."""

collect_ignore = ["coverage_guided.py"]  # needs atheris, which is no dependency
