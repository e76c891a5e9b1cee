"""The Python in README.md, docs/, the cards and the pages of examples runs.

A block that starts with `# from the Hub` runs against the local Hub, which holds made specimens under the official
name. One that needs more than that starts with a comment `# not run: <reason>`; it is compiled, not run. Blocks find
the archives of a made release in `release/`, photographs in `photos/`, barcodes in `my_barcodes.fasta`, a tiny model in
`my-barcodebert/`, a tiny classifier in `my-classifier/` and a tiny CLIBD in `my-clibd/`.
"""

import re
import shutil
from pathlib import Path

import pytest

from bioscan_hf.data.release import REPOSITORY
from bioscan_hf.hub.dataset_cards import save_dataset_card
from bioscan_hf.hub.push import save_model
from bioscan_hf.tokenization.kmer import build_tokenizer
from tests.hub_server.fixture import LocalHub
from tests.made_conversion import make_conversion
from tests.made_release import made_rows, make_release
from tests.model_cards.folders import FOLDERS
from tests.tiny import tiny_clibd, tiny_clibd_processor, tiny_heads, tiny_masked_lm

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "dataset_script" / "README.md",
    *sorted((ROOT / "model_cards").glob("*.md")),
    *sorted((ROOT / "examples").glob("**/README.md")),
    *sorted((ROOT / "bioscan_hf").glob("**/README.md")),
]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks() -> list:
    cases = []
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            cases.append(pytest.param(page, line, match[1], id=f"{page.relative_to(ROOT)}:{line}"))
    return cases


@pytest.fixture
def official(hub: LocalHub, tmp_path: Path) -> LocalHub:
    """The local Hub with a converted made release under the official name."""
    make_conversion(tmp_path / "converted")
    save_dataset_card(tmp_path / "converted")
    hub.api().create_repo(REPOSITORY, repo_type="dataset", exist_ok=True)
    folder = tmp_path / "converted"
    hub.api().upload_folder(repo_id=REPOSITORY, folder_path=folder, repo_type="dataset", delete_patterns="*")
    return hub


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages speak of."""
    folder = tmp_path_factory.mktemp("documented")
    rows = made_rows(4)
    make_release(folder / "release", rows)
    (folder / "photos").mkdir()
    for row in rows[:3]:
        assert isinstance(row["image"], bytes)
        (folder / "photos" / f"{row['processid']}.jpg").write_bytes(row["image"])
    (folder / "my_barcodes.fasta").write_text("".join(f">{r['processid']}\n{r['dna_barcode']}\n" for r in rows))
    save_model(folder / "my-barcodebert", tiny_masked_lm(), build_tokenizer(3))
    save_model(folder / "my-classifier", tiny_heads()[3], build_tokenizer(3))
    tiny_clibd().save_pretrained(folder / "my-clibd")
    tiny_clibd_processor().save_pretrained(folder / "my-clibd")
    return folder


@pytest.fixture
def files(originals: Path, tmp_path: Path) -> Path:
    """A copy of it, for blocks that write."""
    return shutil.copytree(originals, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize(("page", "line", "source"), blocks())
def test_block(
    page: Path, line: int, source: str, files: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    code = compile("\n" * (line - 1) + source, str(page), "exec")
    if source.startswith("# not run:"):
        pytest.skip(source.splitlines()[0])
    if source.startswith("# from the Hub"):
        official: LocalHub = request.getfixturevalue("official")
        official.run(source, files)
        return
    if page.parent.name == "model_cards" and page.stem in FOLDERS:
        FOLDERS[page.stem](files)
    # The card of a model speaks of the folder in which it lies.
    monkeypatch.chdir(page.parent if page.parent.parent.name == "pretrained" else files)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(files / "cache"))
    exec(code, {"__name__": "__main__"})
