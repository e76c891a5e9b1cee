import io
import pickle
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import xxhash
from datasets import Dataset, Features, IterableDataset, Value, load_dataset
from datasets import Image as ImageFeature
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from bioscan_hf.data.augmentation import ImageAugmentation, evaluation_view
from bioscan_hf.data.barcodes import barcode_hashes
from bioscan_hf.data.multimodal import SpecimenCollator, image_column_undecoded
from bioscan_hf.data.pixels import decode_image, normalise
from bioscan_hf.tokenization.kmer import KmerEncoder
from bioscan_hf.tokenization.taxonomy import taxonomy_text
from bioscan_hf.training.batches import MapBatches, Place, StreamBatches

RANKS = ["class", "order", "family", "subfamily", "genus", "species"]
IDS = ["order", "family", "genus", "species"]
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
BARCODES = ["ACGTTGCATG" * 3, "ACGGTGC" * 5 + "NNN", "TTAN" * 6, "ACGTTGCATG" * 3 + "NN", "GATTACA", "CCCCC"]
SEEDS = [11, 12, 13, 14, 15, 16]


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(number: int, width: int = 50, height: int = 40, mode: str = "RGB") -> Image.Image:
    coarse = Image.fromarray(np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def rows(**changed: list[Any]) -> dict[str, list[Any]]:
    """Six specimens, with names at six, six, four, two, no and one rank."""
    full: list[str | None] = ["Insecta", "Diptera", "Sciaridae", "Sciarinae", "Sciara", "Sciara bus"]
    other: list[str | None] = ["Insecta", "Hymenoptera", "Formicidae", "Formicinae", "Sciara", "Sciara cus"]
    names: list[list[str | None]] = [
        full,
        other,
        [*full[:3], None, "Aus", None],
        full[:2],
        [],
        [None, None, None, "", None, "Sciara bus"],
    ]
    columns = {rank: [own[i] if i < len(own) else None for own in names] for i, rank in enumerate(RANKS)}
    images = [{"bytes": encoded(picture(i, 50 + i, 40)), "path": f"P{i}.jpg"} for i in range(6)]
    return {"processid": [f"P{i}" for i in range(6)], "image": images, "dna_barcode": BARCODES, **columns, **changed}


def text_tokenizer(**fields: Any) -> PreTrainedTokenizerFast:
    """A token for each word of the rows, between two that mark the ends."""
    words = [word for rank in RANKS for name in rows()[rank] if name for word in [rank.title() + ":", *name.split()]]
    words = [*words, *[word + "," for word in words], "not_classified"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(["[PAD]", "[CLS]", "[SEP]", "[UNK]", *words]))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", **fields)


def collator(**fields: Any) -> SpecimenCollator:
    given: dict[str, Any] = {"size": 24, "shorter_side": 32, "encoder": KmerEncoder(5, vocabulary="acgt_2023")}
    return SpecimenCollator(**{**given, "tokenizer": text_tokenizer(), **fields})


def trained(**fields: Any) -> SpecimenCollator:
    """With all that is random."""
    augment = ImageAugmentation(24, 32, jitter=0.2)
    return collator(augment=augment, random_offset=True, caption_dropout=0.5, **fields)


def files(*contents: bytes | None) -> dict[str, list[Any]]:
    images = [None if content is None else {"bytes": content, "path": "a.jpg"} for content in contents]
    return {"image": images, "processid": [f"P{i}" for i in range(len(images))]}


def images_of(contents: dict[str, list[Any]], **fields: Any) -> dict[str, torch.Tensor]:
    return collator(modalities=["image"], **fields)(contents, range(len(contents["image"])))


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_images_are_scaled_cropped_and_normalised() -> None:
    batch = collator(image_mean=MEAN, image_std=STD)(rows(), SEEDS)
    assert batch["pixel_values"].shape == (6, 3, 24, 24) and batch["pixel_values"].dtype == torch.float32
    assert batch["pixel_values"].is_contiguous(memory_format=torch.channels_last)
    for values, image in zip(batch["pixel_values"], rows()["image"], strict=True):
        pixels = evaluation_view(decode_image(image["bytes"]), size=24, shorter_side=32).astype(float)
        for c in range(3):
            np.testing.assert_allclose(values[c], (pixels[..., c] / 255 - MEAN[c]) / STD[c], atol=1e-5)
    torch.testing.assert_close(collator()(rows(), SEEDS)["pixel_values"].amax(), torch.tensor(1.0), atol=0.1, rtol=0)
    assert batch["has_image"].tolist() == [True] * 6


def test_views_follow_the_seed_of_the_specimen() -> None:
    augment = ImageAugmentation(24, 32, jitter=0.2)
    batch = collator(augment=augment, image_mean=MEAN, image_std=STD)(rows(), SEEDS)
    for values, image, seed in zip(batch["pixel_values"], rows()["image"], SEEDS, strict=True):
        view = augment(decode_image(image["bytes"]), int(2**53 * random.Random(seed).random()))
        expected = normalise(torch.from_numpy(view.copy())[None], mean=MEAN, std=STD)[0]
        torch.testing.assert_close(values, expected)


def test_files_of_all_kinds_are_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    contents = [
        encoded(picture(0, mode="L")),
        encoded(picture(1, mode="CMYK")),
        encoded(picture(2, 50, 40), exif=exif),
        encoded(picture(3, mode="RGBA"), "PNG"),
        encoded(picture(4, mode="P"), "PNG"),
        encoded(picture(5), "WEBP"),
    ]
    given = files(*contents)
    (tmp_path / "b.jpg").write_bytes(contents[2])
    given["image"].append({"bytes": None, "path": str(tmp_path / "b.jpg")})
    given["processid"].append("P6")
    values = images_of(given)["pixel_values"]
    for own, content in zip(values, [*contents, contents[2]], strict=True):
        expected = evaluation_view(decode_image(content), size=24, shorter_side=32)
        torch.testing.assert_close(own, torch.from_numpy(expected / np.float32(255)).permute(2, 0, 1))
    grey = values[0]
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[0], grey[2])
    assert not torch.allclose(values[2], images_of(files(encoded(picture(2))))["pixel_values"][0], atol=0.1)


@pytest.mark.parametrize("absent", [None, {"bytes": None, "path": None}])
def test_a_missing_image_is_zeros(absent: Any) -> None:
    images = rows()["image"]
    images[1] = absent
    batch = trained(image_mean=MEAN, image_std=STD)(rows(image=images), SEEDS)
    assert batch["has_image"].tolist() == [True, False, True, True, True, True]
    assert not batch["pixel_values"][1].any() and batch["pixel_values"][2].any()
    assert not collator(modalities=["image"])({"image": [absent]}, [1])["has_image"].any()


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"bytes": encoded(picture(0))[:300], "path": "P1.jpg"}, r"^Process id P1, file P1.jpg: .*cannot be decoded"),
        ({"bytes": b"", "path": "P1.jpg"}, r"^Process id P1, file P1.jpg: .*cannot be decoded"),
        ({"bytes": None, "path": "absent/P1.jpg"}, r"^Process id P1, file absent/P1.jpg: .*No such file"),
        ({"bytes": encoded(Image.new("I;16", (40, 40), 9), "PNG"), "path": "P1.png"}, r"P1.png: .*8 bits per channel"),
        (picture(0), r"dictionaries of `bytes` and `path`; got Image. Use `image_column_undecoded\(dataset\)`"),
    ],
)
def test_a_damaged_image_is_named(image: Any, message: str, threads: int) -> None:
    images = rows()["image"]
    images[1] = image
    with pytest.raises(ValueError, match=message):
        collator(threads=threads)(rows(image=images), SEEDS)


def test_barcodes_are_encoded() -> None:
    encoder = KmerEncoder(5, vocabulary="acgt_2023", cls_token_id=0)
    batch = collator(encoder=encoder)(rows(), SEEDS)
    ids, mask = encoder([*BARCODES[:2], "", *BARCODES[3:]])
    np.testing.assert_array_equal(batch["dna_input_ids"], ids)
    np.testing.assert_array_equal(batch["dna_attention_mask"], mask)
    assert batch["dna_input_ids"].dtype == batch["dna_attention_mask"].dtype == torch.int64
    assert batch["has_dna"].tolist() == [True] * 2 + [False] + [True] * 3, "TTANTTA has no five known letters in a row"


def test_barcodes_start_anywhere_but_keep_a_whole_kmer() -> None:
    encoder = KmerEncoder(5)
    barcodes = ["ACGTTGCATGAACCGGTTAC", "CCCCC", "ACGTTAC"] * 100
    batch = collator(modalities=["dna"], encoder=encoder, random_offset=True)({"dna_barcode": barcodes}, range(300))
    starts: list[set[int]] = [set(), set(), set()]
    for i, barcode in enumerate(barcodes):
        kmers = [int(encoder([barcode[start:]])[0][0, 0]) for start in range(len(barcode) - 4)]
        starts[i % 3].add(kmers.index(int(batch["dna_input_ids"][i, 0])))
    assert starts == [{0, 1, 2, 3, 4}, {0}, {0, 1, 2}]
    assert batch["has_dna"].all() and batch["dna_attention_mask"][:, 0].all()


@pytest.mark.parametrize("absent", [None, "", "NNNNNNNNNN", "ACGT", "ACGT-ACGTNACGT", "acgttgca", "N" * 40 + "ACGTT"])
def test_a_missing_barcode_is_an_empty_one(absent: str | None) -> None:
    encoder = KmerEncoder(5, max_nucleotides=40, cls_token_id=0)
    collate = collator(modalities=["dna"], encoder=encoder, random_offset=True)
    batch = collate({"dna_barcode": ["ACGTTGCATG", absent]}, [1, 2])
    assert batch["has_dna"].tolist() == [True, False]
    ids, mask = encoder(["ACGTTGCATG"[: 10 - 5], ""])
    np.testing.assert_array_equal(batch["dna_input_ids"][1, : ids.shape[1]], ids[1])
    np.testing.assert_array_equal(batch["dna_attention_mask"][1, : mask.shape[1]], mask[1])
    assert batch["group_ids"][1].tolist() == [-1, -1]
    alone = collate({"dna_barcode": [absent]}, [1])
    assert alone["dna_input_ids"].tolist() == encoder([""])[0].tolist() and not alone["has_dna"].any()


@pytest.mark.parametrize("form", ["clibd", "labelled"])
def test_texts_are_tokenized(form: Any) -> None:
    tokenizer = text_tokenizer()
    batch = collator(text_form=form)(rows(), SEEDS)
    given = rows()
    texts = [taxonomy_text({rank: given[rank][i] for rank in RANKS}, form=form) for i in range(6)]
    expected = tokenizer(texts, padding=True, return_tensors="pt")
    assert torch.equal(batch["input_ids"], expected["input_ids"])
    assert torch.equal(batch["attention_mask"], expected["attention_mask"])
    assert 3 not in batch["input_ids"], "no word is unknown"
    assert batch["has_text"].tolist() == [True] * 4 + [False, True]
    hashes = [xxhash.xxh3_64_intdigest(text.encode()) >> 1 for text in texts]
    assert batch["caption_ids"].tolist() == [*hashes[:4], -1, hashes[5]]


def test_a_rank_that_the_text_leaves_out_is_no_text() -> None:
    given = rows(**{"class": ["Insecta"] * 6})
    assert not collator()(given, SEEDS)["has_text"][4]
    assert collator(text_form="labelled")(given, SEEDS)["has_text"][4]


@pytest.mark.parametrize("side", ["right", "left"])
def test_texts_are_filled_up_and_cut(side: str) -> None:
    tokenizer = text_tokenizer(padding_side=side)
    fields: dict[str, Any] = {"tokenizer": tokenizer, "text_form": "labelled", "max_text_tokens": 9}
    longest = collator(**fields)(rows(), SEEDS)
    filled = collator(**fields, pad_text_to=12)(rows(), SEEDS)
    assert longest["input_ids"].shape == (6, 9) and filled["input_ids"].shape == (6, 12)
    own = slice(3, None) if side == "left" else slice(9)
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(filled[name][:, own], longest[name])
        assert not filled[name].flip(1 if side == "right" else 0)[:, :3].any()
    assert torch.equal(filled["attention_mask"], (filled["input_ids"] != tokenizer.pad_token_id).long())
    assert collator(max_text_tokens=20, pad_text_to=20)(rows(), SEEDS)["input_ids"].shape == (6, 20)


def test_texts_end_at_a_rank_that_the_specimen_has() -> None:
    given: dict[str, Any] = {"order": "Diptera", "family": "Sciaridae", "genus": None, "species": "Sciara bus"}
    texts = [
        taxonomy_text({rank: name if i < ends else None for i, (rank, name) in enumerate(given.items())}, form="clibd")
        for ends in (1, 2, 4)
    ]
    ids = [xxhash.xxh3_64_intdigest(text.encode()) >> 1 for text in texts]
    columns = {rank: [name] * 900 for rank, name in given.items()}
    batch = collator(modalities=["text"], caption_dropout=0.6)(columns, range(900))
    shares = [float((batch["caption_ids"] == number).double().mean()) for number in ids]
    assert sum(shares) == pytest.approx(1)
    assert shares == pytest.approx([0.2, 0.2, 0.4 + 0.2], abs=0.05)
    expected = text_tokenizer()(texts, padding=True, return_tensors="pt")["input_ids"]
    for number, tokens in zip(ids, expected, strict=True):
        assert (batch["input_ids"][batch["caption_ids"] == number] == tokens).all()
    assert (batch["rank_ids"] == batch["rank_ids"][0]).all(), "what is known stays what it is"
    assert columns["species"] == ["Sciara bus"] * 900, "the rows are not changed"


def test_ids_tell_what_is_equal() -> None:
    given = rows()
    batch = collator()(given, SEEDS)
    stripped = barcode_hashes(pa.array(BARCODES), strip="trailing") >> np.uint64(1)
    barcodes, species = batch["group_ids"].T.tolist()
    assert barcodes == [-1 if i == 2 else int(number) for i, number in enumerate(stripped)]
    assert barcodes[0] == barcodes[3] and len(set(barcodes)) == 5
    assert species == [
        -1 if name is None else xxhash.xxh3_64_intdigest(name.encode()) >> 1 for name in given["species"]
    ]
    assert species[0] == species[5]
    for column, rank in enumerate(IDS):
        paths = [tuple(given[above][i] or "" for above in IDS[: column + 1]) for i in range(6)]
        ids = batch["rank_ids"][:, column].tolist()
        for i in range(6):
            assert (ids[i] == -1) == (not given[rank][i])
            assert all((ids[i] == ids[j]) == (paths[i] == paths[j]) for j in range(6) if -1 not in (ids[i], ids[j]))
    assert batch["rank_ids"].dtype == batch["group_ids"].dtype == torch.int64
    assert batch["rank_ids"][0, 2] != batch["rank_ids"][1, 2], "the same genus name in another family"
    assert batch["rank_ids"].min() == -1 and batch["rank_ids"].max() > 2**55


def test_only_what_is_asked_for_is_in_the_batch() -> None:
    ids = {"group_ids", "rank_ids"}
    keys = {
        "image": {"pixel_values", "has_image"},
        "dna": {"dna_input_ids", "dna_attention_mask", "has_dna"},
        "text": {"input_ids", "attention_mask", "has_text", "caption_ids"},
    }
    whole = trained()(rows(), SEEDS)
    assert whole.keys() == ids.union(*keys.values())
    columns = {"image": ["image"], "dna": ["dna_barcode"], "text": IDS}
    for modality, names in columns.items():
        part = trained(modalities=[modality])(rows(), SEEDS)
        assert part.keys() == ids | keys[modality]
        assert all(torch.equal(part[name], whole[name]) for name in keys[modality])
        own = trained(modalities=[modality])({name: rows()[name] for name in names}, SEEDS)
        assert all(torch.equal(own[name], whole[name]) for name in keys[modality])
        missing = {name: column for name, column in rows().items() if name not in [*names, "class", "subfamily"]}
        with pytest.raises(ValueError, match=names[0]):
            trained(modalities=[modality])(missing, SEEDS)
    assert (trained(modalities=["image"])(files(encoded(picture(0))), [1])["group_ids"] == -1).all()


@pytest.mark.parametrize("threads", [0, 1, 2, 9])
def test_a_specimen_does_not_depend_on_its_batch_nor_on_threads(threads: int) -> None:
    whole = trained()(rows(), SEEDS)
    before = threading.active_count()
    assert same(trained(threads=threads)(rows(), SEEDS), whole)
    assert threading.active_count() == before
    chosen = [4, 1, 0]
    some = {name: [column[i] for i in chosen] for name, column in rows().items()}
    random.seed(0)
    torch.manual_seed(0)
    part = trained(threads=threads)(some, [SEEDS[i] for i in chosen])
    for name, values in part.items():
        own = whole[name][chosen]
        if own.ndim == 2:  # the longest of the batch may be shorter
            own = own[:, : values.shape[1]]
        assert torch.equal(values, own), name
    assert not torch.equal(trained()(rows(), SEEDS[::-1])["pixel_values"], whole["pixel_values"])


def test_a_collator_can_be_sent_to_another_process() -> None:
    collate = trained(threads=2)
    whole = collate(rows(), SEEDS)
    assert same(pickle.loads(pickle.dumps(collate))(rows(), SEEDS), whole)


FEATURES = Features(
    {
        "processid": Value("string"),
        "image": ImageFeature(),
        "dna_barcode": Value("string"),
        **{rank: Value("string") for rank in RANKS},
    }
)


def dataset() -> Dataset:
    return Dataset.from_dict(rows(), features=FEATURES)


def test_batches_of_training_are_collated_in_this_and_in_other_processes() -> None:
    specimens, collate = image_column_undecoded(dataset()), trained(threads=2)
    here, there = (
        list(islice(MapBatches(specimens, collate, Place(0, 1, 3), seed=5, workers=workers).start(0), 3))
        for workers in (0, 1)
    )
    assert [batch.processids for batch in here] == [batch.processids for batch in there]
    assert all(same(first.inputs, second.inputs) for first, second in zip(here, there, strict=True))
    assert sorted(here[0].processids + here[1].processids) == [f"P{i}" for i in range(6)]
    stream = StreamBatches(image_column_undecoded(streamed()), collate, Place(0, 1, 3), seed=5, buffer=1)
    assert next(stream.start(0)).processids == ["P0", "P1", "P2"]


def streamed() -> IterableDataset:
    return dataset().to_iterable_dataset(num_shards=2)


def undecoded(tmp_path: Path) -> Iterator[Any]:
    yield dataset()
    yield dataset().select([0, 1, 2])
    yield image_column_undecoded(dataset())
    yield streamed().shuffle(seed=1, buffer_size=2)
    dataset().to_parquet(tmp_path / "a.parquet")
    yield load_dataset("parquet", data_files=str(tmp_path / "a.parquet"), split="train", streaming=True)
    yield IterableDataset.from_generator(
        lambda: iter([{name: column[0] for name, column in rows().items()}]), features=FEATURES
    )


def test_images_are_left_as_they_are_stored(tmp_path: Path) -> None:
    stored = {name: image["bytes"] for name, image in zip(rows()["processid"], rows()["image"], strict=True)}
    for specimens in undecoded(tmp_path):
        batch = next(iter(image_column_undecoded(specimens).iter(2)))
        assert batch["image"]
        for name, image in zip(batch["processid"], batch["image"], strict=True):
            assert image["bytes"] == stored[name] and image["path"] == f"{name}.jpg"


def test_datasets_without_a_known_column_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no column 'image'; it has \['processid'"):
        image_column_undecoded(dataset().remove_columns("image"))
    with pytest.raises(ValueError, match=r"before `map`, or `map` with `features=dataset.features`"):
        image_column_undecoded(streamed().map(lambda row: row))
    image_column_undecoded(streamed().map(lambda row: row, features=FEATURES))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modalities": ["image", "sound"]}, r"some of \['image', 'dna', 'text'\]; got \['image', 'sound'\]"),
        ({"modalities": []}, "`modalities`"),
        ({"encoder": None}, "need an `encoder`: give one, or leave 'dna' out"),
        ({"tokenizer": None}, "need a `tokenizer`"),
        ({"size": 33}, "`size` must be 1 to `shorter_side`; got 33 and 32"),
        ({"augment": ImageAugmentation(23, 32)}, "that of `augment`, 23; got 24"),
        ({"text_form": "plain"}, "`text_form` must be one of .*'plain'"),
        ({"max_text_tokens": 0}, "`max_text_tokens` of at least 1"),
        ({"pad_text_to": 12}, "`pad_text_to` must be at least `max_text_tokens`, 20; got 12"),
        ({"caption_dropout": 1.5}, "0 to 1; got 20, 0 and 1.5"),
        ({"threads": -1}, "`threads` of at least 0"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(collator(), **fields)
