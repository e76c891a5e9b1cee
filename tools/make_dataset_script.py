"""Write the card and `eval.yaml` of the complete dataset into `dataset_script/`.

    python tools/make_dataset_script.py

Needs the package. Run it when the card, the columns or the configurations change.
"""

from pathlib import Path

from bioscan_hf.hub.dataset_cards import card_files
from bioscan_hf.hub.dataset_contents import published_contents

OUTPUT = Path(__file__).resolve().parents[1] / "dataset_script"


def main() -> None:
    """Run the tool."""
    for name, text in card_files(published_contents()).items():
        (OUTPUT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
