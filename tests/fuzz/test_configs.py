"""Settings in YAML and configurations of models in JSON: read right, or refused in one line; nothing is run or grows.

The long form: `BIOSCAN_FUZZ_EXAMPLES=20000 pytest tests/fuzz/test_configs.py`.
"""

import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bioscan_hf.evaluation.encoders.clibd import load_clibd
from bioscan_hf.evaluation.encoders.loading import load_encoder
from bioscan_hf.hub.push import save_model
from bioscan_hf.tokenization.kmer import tokenizer_for
from bioscan_hf.training.settings import check_settings, make_settings, setting
from tests.fuzz.helpers import tried
from tests.fuzz.mutations import mutated
from tests.identification.made_library import save_clibd
from tests.tiny import tiny_masked_lm

few = tried(60)


@dataclass(frozen=True)
class Dish:
    name: str = setting("What it is called.", "soup")
    eggs: int = setting("Eggs in it.", 2)
    salt: float = setting("Grams.", 1.0)
    heat: Literal["no", "low"] = setting("How hot.", "low")
    stirred: bool = setting("Whether it is.", False)
    book: Path | None = setting("Where it stands.", None)

    def __post_init__(self) -> None:
        check_settings(self)


BOMB = b"name:\n  - &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"  - &%c [%s]\n" % (new, b",".join([b"*%c" % old] * 9)) for old, new in zip(b"abcdefgh", b"bcdefghi", strict=True)
)
GOOD = b"name: soup # of the day\neggs: 3\nsalt: 1e-4\nheat: no\nstirred: true\nbook: shelf/3\n"


@few
@given(content=mutated([GOOD, BOMB, b"a: &x [1]\nb: *x", b"!!python/object/apply:os.system ['touch owned']"]))
@example(content=BOMB)
@example(content=BOMB.replace(b"  - &a", b"&a", 1))
@example(content=b"name: &a [*a]")
@example(content=b"name: " + b"[" * 20_000)
@example(content=b"{a: " * 5000)
@example(content=b"name: !!python/object/apply:os.system ['touch owned']")
@example(content=b"stirred: !!bool maybe")
@example(content=b"!!timestamp 'x': 1")
@example(content=b"book: 2020-99-99")
@example(content=b"eggs: " + b"9" * 5000)
@example(content=b"salt: .inf")
@example(content=b"eggs: 0x" + b"f" * 400)
@example(content=b"eggs: 1\neggs: 2")
@example(content=b"? [a]\n: 1")
@example(content=b"\xff\xfe\0")
def test_settings(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("dish") / "dish.yaml"
    path.write_bytes(content)
    start = time.process_time()
    try:
        dish = make_settings(Dish, {}, path)
    except ValueError as error:
        assert len(str(error)) < 1000 and "\n" not in str(error)
    else:
        assert isinstance(dish.name, str) and len(dish.name) <= len(content) + 10
        assert isinstance(dish.eggs, int) and math.isfinite(dish.salt)
    assert time.process_time() - start < 5, "a small file takes a long time"
    assert not Path("owned").exists()


def test_a_file_of_settings_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "dish.yaml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ValueError, match="it has more than 1,048,576 letters; expected some lines of settings"):
        make_settings(Dish, {}, tmp_path / "dish.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tiny_masked_lm()
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_model(folder, model, tokenizer_for(model.config))
    return folder


@pytest.fixture(scope="module")
def config(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text()))


SIZES = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings"),
    *("type_vocab_size", "vocab_size", "kmer_size", "max_nucleotides", "num_labels", "reading_frames", "pad_token_id"),
)
OTHERS = ("model_type", "auto_map", "architectures", "dtype", "id2label", "taxa", "hidden_act", "pooling", "vocabulary")
VALUES: tuple[Any, ...] = (
    0,
    -1,
    1,
    7,
    10**5,
    10**9,
    10**30,
    1.5,
    float("nan"),
    "x",
    None,
    True,
    [],
    {},
    [10**9],
    {"a": "b--c.D"},
)
CODE = {"AutoConfig": "evil.Config", "AutoModel": "evil--repo.Model"}


def check_config(content: bytes, folder: Path) -> None:
    """An encoder that works, or an error in words; and no code of the folder."""
    (folder / "config.json").write_bytes(content)
    start = time.process_time()
    try:
        encoder: Any = load_encoder(folder)
        vector = encoder.encode(["ACGT" * 9])
    except (ValueError, OSError, ImportError) as error:
        assert str(folder) in str(error) or "`" in str(error), str(error)
    else:
        assert vector.shape[0] == 1
    assert time.process_time() - start < 10, "it takes a long time"


@few
@given(changes=st.dictionaries(st.sampled_from(SIZES + OTHERS), st.sampled_from(VALUES), min_size=1, max_size=2))
@example(changes={"num_hidden_layers": 10**9})
@example(changes={"num_hidden_layers": 10**5, "hidden_size": 1})
@example(changes={"hidden_size": 10**9, "num_attention_heads": 1})
@example(changes={"max_position_embeddings": 10**9})
@example(changes={"kmer_size": 10**9})
@example(changes={"kmer_size": 10**9, "vocab_size": None})
@example(changes={"num_labels": 10**9})
@example(changes={"reading_frames": 10**9})
@example(changes={"num_attention_heads": 0})
@example(changes={"model_type": "bert", "auto_map": CODE})
@example(changes={"attn_implementation": "evil/kernel"})
def test_fields_of_a_configuration(changes: dict[str, Any], folder: Path, config: dict[str, Any]) -> None:
    (folder / "evil.py").write_text("raise SystemExit('code was run')")
    check_config(json.dumps({**config, **changes}).encode(), folder)


@few
@given(data=st.data())
def test_bytes_of_a_configuration(data: st.DataObject, folder: Path, config: dict[str, Any]) -> None:
    check_config(data.draw(mutated([json.dumps(config).encode(), b"[" * 50_000, b'{"a":' * 50_000])), folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("processor_config.json", b"[" * 50_000),
        ("processor_config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("tokenizer_config.json", json.dumps({"auto_map": {"AutoTokenizer": ["evil.T", None]}}).encode()),
    ],
)
def test_files_beside_a_configuration(name: str, content: bytes, tmp_path: Path) -> None:
    folder = save_clibd(tmp_path / "clibd")
    (folder / "evil.py").write_text("raise SystemExit('code was run')")
    assert [path.write_bytes(content) for path in folder.rglob(name)], sorted(folder.rglob("*"))
    try:
        load_clibd(folder)
    except (ValueError, OSError) as error:
        assert str(folder) in str(error)
    shutil.rmtree(folder)
