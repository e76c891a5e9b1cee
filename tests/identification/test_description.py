from pathlib import Path

from bioscan_hf.data.files import digest
from bioscan_hf.identification.description import describe_library
from bioscan_hf.identification.library import Library
from bioscan_hf.identification.library_files import read_manifest
from tests.identification.made_library import library, save_clibd, specimens, without


def described(folder: Path) -> dict[str, str]:
    pairs = describe_library(folder, read_manifest(folder))
    assert all("\n" not in text for _, text in pairs)
    return dict(pairs)


def test_what_a_library_was_made_of(saved_library: Path) -> None:
    facts, made = described(saved_library), library()
    assert facts["specimens"] == f"{len(specimens('train')):,}" == "603"
    assert facts["keys"] == f"{len(made.keys.first)} distinct pairs of barcode and lineage"
    assert facts["taxa"].startswith(f"phylum {len(made.taxa['phylum'])}, class ")
    assert facts["taxa"].endswith(f", species {len(set(specimens('train')['species']))}")
    assert facts["model"] == "aligned" and "image model" not in facts
    assert facts["source"] == "bioscan_hf sample (simulated specimens), revision 0123456789ab"
    assert facts["calibrated by barcode"] == "phylum, class, order, family, subfamily, genus, species, novelty"
    assert facts["made by"].startswith("bioscan_hf ") and facts["made by"].endswith(": made")
    size = sum(path.stat().st_size for path in saved_library.iterdir())
    assert facts["size"] == f"{size / 1e6:.1f} MB"
    assert "added" not in facts and "calibrated" not in facts


def test_a_small_one_made_in_python(tmp_path: Path) -> None:
    one = Library.build(without(specimens("train", 1), "species", "subfamily"))
    one.save(tmp_path / "one")
    facts = described(tmp_path / "one")
    assert facts["calibrated"] == "no: there were no specimens to hold out"
    assert facts["taxa"] == "phylum 1, class 1, order 1, family 1, genus 1"
    assert facts["source"] == "unknown, revision unknown" and facts["made by"].endswith(": in Python")


def test_a_model_for_images(tmp_path: Path) -> None:
    folder = save_clibd(tmp_path / "tiny")
    made = Library.build(specimens("train", 20), calibration=specimens("val", 2), image_model=str(folder))
    made.save(tmp_path / "lib")
    facts = described(tmp_path / "lib")
    revision = digest(folder / "model.safetensors")
    assert facts["model"] == "aligned" and facts["image model"] == f"tiny, revision {revision}"
    assert list(facts).index("image model") == list(facts).index("model") + 1


def test_what_was_added_and_hardly_rated(tmp_path: Path) -> None:
    made = Library.build(
        specimens("train", 20), calibration=specimens("val", 2), model="kmer:3", info={"source": "x.csv"}
    )
    made.add(specimens("test", 2)).save(tmp_path / "more")
    facts = described(tmp_path / "more")
    assert facts["added"] == "2 specimens, after the calibration" and facts["specimens"] == "22"
    assert facts["calibrated by barcode"] == "nothing: there were too few specimens to hold out"
    assert facts["model"] == "kmer:3" and facts["source"] == "x.csv, revision unknown"
