import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioscan_hf.data.features import bioscan_features
from bioscan_hf.data.image_folder import folder_digest, read_image_folder

Rows = list[dict[str, object]]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """A warning that a test does not expect is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photographs, in folders, and what is none."""
    folder = tmp_path / "photos"
    for i, name in enumerate(("b/A1.JPG", "A3.png", "b/c/A2.tiff", ".hidden.jpg", ".cache/A9.jpg", "b/._A1.jpg")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (8 + i, 6)).save(folder / name)
    (folder / "notes.txt").write_text("none")
    return folder


def rows(folder: Path, **options: str) -> Rows:
    """Specimens as rows, with the image's path below the folder, without what is null."""
    table = read_image_folder(folder, **options)  # type: ignore[arg-type]
    assert table.schema == bioscan_features().arrow_schema
    assert all(row["image"]["bytes"] is None for row in table.to_pylist())
    images = [Path(row["image"]["path"]).relative_to(folder).as_posix() for row in table.to_pylist()]
    found = [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]
    return [{**row, "image": image} for row, image in zip(found, images, strict=True)]


def test_without_a_table_each_image_is_a_specimen(photos: Path) -> None:
    assert rows(photos) == [
        {"image": "A3.png", "processid": "A3"},
        {"image": "b/A1.JPG", "processid": "A1"},
        {"image": "b/c/A2.tiff", "processid": "A2"},
    ]


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_a_table_by_process_id(kind: str, photos: Path) -> None:
    columns: dict[str, list[str | None]] = {
        "processid": ["A1", "A2", "A3"],
        "nuc": ["acgt", None, "ACGG"],
        "order": ["Diptera", None, None],
    }
    columns["split"] = ["validation", None, "test"]
    write(photos / f"metadata.{kind}", columns)
    assert rows(photos) == [
        {"image": "b/A1.JPG", "processid": "A1", "dna_barcode": "ACGT", "order": "Diptera", "split": "val"},
        {"image": "b/c/A2.tiff", "processid": "A2"},
        {"image": "A3.png", "processid": "A3", "dna_barcode": "ACGG", "split": "test"},
    ]


def write(path: Path, columns: dict[str, list[str | None]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
        return
    lines = [columns.keys(), *([value or "" for value in row] for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(("," if path.suffix == ".csv" else "\t").join(line) for line in lines))


def test_a_table_by_file_name(photos: Path) -> None:
    (photos / "metadata.csv").write_text("file_name\n./b/A1.JPG\nA3.png\nb\\c\\A2.tiff\n")
    assert [row["processid"] for row in rows(photos)] == ["A1", "A3", "A2"]
    # Two views of one name are two specimens if the table says so, and one image may show two specimens.
    shutil.copy(photos / "A3.png", photos / "b" / "A3.png")
    text = "processid,file_name\nX1,A3.png\nX2,b/A3.png\nX3,b/A1.JPG\nX4,b/c/A2.tiff\nX5,A3.png\n"
    (photos / "metadata.csv").write_text(text)
    assert [(row["processid"], row["image"]) for row in rows(photos)] == [
        *(("X1", "A3.png"), ("X2", "b/A3.png"), ("X3", "b/A1.JPG"), ("X4", "b/c/A2.tiff"), ("X5", "A3.png"))
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("processid\nA1\nA2\nA3\nA4\n", r"line 5 \(process id 'A4'\): there is no image 'A4' in the folder"),
        ("file_name\nA1.JPG\n", r"line 2 \(process id 'A1'\): there is no image 'A1.JPG' in the folder"),
        ("processid,order\n,Diptera\n", "line 2: there is no image None"),
        ("processid\nA1\nA2\n", r"metadata\.csv' has no row for 'A3\.png' \(1 images without row\); add rows"),
        ("processid\nA1\nA2\nA3\nA3\n", r"line 5 \(process id 'A3'\): .*; line 4 has the same process id"),
        ("processid,nuc\nA1,ACGE\n", r"line 2 \(process id 'A1'\): the barcode has 'E'"),
        ("processid,lat\nA1,91\n", r"line 2 \(process id 'A1'\): 'coord-lat' must be within 90 degrees"),
        ("processid,lat\nA1\n", r"line 2 \(process id 'A1'\): expected 2 fields; got 1"),
        ("order\nDiptera\n", r"needs the column 'file_name' or 'processid'; found \['order'\]"),
        ("processid\n", "holds no specimens"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(text: str, message: str, photos: Path) -> None:
    (photos / "metadata.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_image_folder(photos)
    assert "metadata.csv'" in str(error.value) and "\n" not in str(error.value)


def test_tables_of_other_kinds_and_two_tables_are_refused(photos: Path) -> None:
    (photos / "metadata.jsonl").write_text("{}")
    with pytest.raises(ValueError, match=r"one of the tables metadata\.csv, .*; found \['metadata\.jsonl'\]"):
        read_image_folder(photos)
    (photos / "metadata.jsonl").rename(photos / "metadata.csv")
    (photos / "metadata.tsv").write_text("processid\n")
    with pytest.raises(ValueError, match=r"found \['metadata\.csv', 'metadata\.tsv'\]"):
        read_image_folder(photos)


def test_two_images_of_one_process_id_are_refused(photos: Path) -> None:
    shutil.copy(photos / "A3.png", photos / "b" / "A3.png")
    with pytest.raises(
        ValueError, match=r"'b/A3\.png' \(process id 'A3'\): .* more than once; 'A3\.png' has the same process id"
    ):
        read_image_folder(photos)
    (photos / "metadata.csv").write_text("processid\nA3\n")
    with pytest.raises(
        ValueError, match=r"it has the images \['A3\.png', 'b/A3\.png'\]; write which one into a column"
    ):
        read_image_folder(photos)


@pytest.mark.parametrize("with_table", [False, True])
@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", r"the image is empty \(0 bytes\)"), (b"\xff\xd8\xff\xe0", "no JPEG"), (b"text", "it is no JPEG")],
)
def test_an_image_that_cannot_be_read_is_named(content: bytes, reason: str, with_table: bool, photos: Path) -> None:
    (photos / "b" / "A1.JPG").write_bytes(content)
    if with_table:
        (photos / "metadata.csv").write_text("processid\nA3\nA2\nA1\n")
    with pytest.raises(ValueError, match=rf"{'line 4' if with_table else 'b/A1.JPG'}.*{reason}") as error:
        read_image_folder(photos)
    assert "'b/A1.JPG'" in str(error.value)


def test_skipping_leaves_out_what_is_bad(photos: Path) -> None:
    (photos / "A3.png").write_bytes(b"")
    with pytest.warns(
        UserWarning, match=r"left out 1 of 3 because they are bad: 'A3\.png' \(process id 'A3'\): the image is empty"
    ):
        assert [row["processid"] for row in rows(photos, on_error="skip")] == ["A1", "A2"]
    (photos / "metadata.csv").write_text("processid,nuc\nA9,ACGT\nA2,ACGT\nA3,ACGT\n")
    with pytest.warns(UserWarning) as caught:
        assert [row["processid"] for row in rows(photos, on_error="skip")] == ["A2"]
    messages = [str(warning.message) for warning in caught]
    assert "left out 2 of 3" in messages[0] and "no image 'A9'" in messages[0] and "empty" in messages[0]
    assert messages[1].endswith("metadata.csv' has no row for 'b/A1.JPG' (1 images without row); left out.")


def test_a_name_that_is_no_process_id_is_refused(photos: Path) -> None:
    (photos / "A3.png").rename(photos / "IMG 3.png")
    with pytest.raises(ValueError, match=r"'IMG 3\.png' \(process id 'IMG 3'\): the process id must be"):
        read_image_folder(photos)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no images; expected files that end in \.jpg, "):
        read_image_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="No such folder"):
        read_image_folder(tmp_path / "absent")


def test_the_digest_follows_names_sizes_and_the_table(photos: Path, tmp_path: Path) -> None:
    digests = [folder_digest(photos)]
    assert folder_digest(photos) == digests[0] and len(digests[0]) == 12
    (photos / "notes.txt").write_text("other")
    assert folder_digest(photos) == digests[0]
    (photos / "A3.png").rename(photos / "A4.png")
    digests.append(folder_digest(photos))
    PIL.Image.effect_noise((99, 99), 9).save(photos / "A4.png")
    digests.append(folder_digest(photos))
    for text in ("processid\nA1\n", "processid\nA2\n"):
        (photos / "metadata.csv").write_text(text)
        digests.append(folder_digest(photos))
    (tmp_path / "splits.csv").write_text("processid,split\n")
    digests.append(folder_digest(photos, tmp_path / "splits.csv"))
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("name", ["labels.csv", "Metadata.CSV", "metadata.csv.gz", "metadata.xlsx"])
def test_a_table_that_would_not_be_read_is_refused(name: str, photos: Path) -> None:
    (photos / name).write_text("processid\nA1\n")
    with pytest.raises(ValueError, match=rf"one of the tables metadata\.csv, .*, or none; found \['{name}'\]"):
        read_image_folder(photos)
