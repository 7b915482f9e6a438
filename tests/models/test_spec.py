"""What the spec accepts and refuses; the oracle is the rule each test names."""

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from einchip.models import MatrixSpec, ModelError, ModelSpec, parse_spec, tensor_shapes
from tests.models.helpers import matrix, raw_spec, recurrent, zoo

ZOO = pytest.mark.parametrize("fields", zoo().values(), ids=zoo())


def changed(path: str, value: object, kind: str = "mpo", **layer: Any) -> dict[str, Any]:
    """A valid spec with one field replaced (`path` starts inside the first layer)."""
    raw = copy.deepcopy(raw_spec(kind, **layer))
    target: Any = raw["layers"][0]
    *parents, last = path.split(".")
    for name in parents:
        target = target[name]
    target[last] = value
    return raw


def refusal(raw: object) -> str:
    """The message of a spec that is refused, checked to be one line that begins with the file."""
    with pytest.raises(ModelError) as error:
        parse_spec(raw, "a.yaml")
    text = str(error.value)
    assert text.startswith("a.yaml: ")
    assert ": found " in text
    assert ", expected " in text
    assert "; " in text
    assert "\n" not in text
    return text


@ZOO
def test_json_round_trip_keeps_the_spec(fields: dict[str, Any]) -> None:
    spec = ModelSpec.model_validate(raw_spec(**fields))
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec
    assert ModelSpec.model_validate_json(spec.model_dump_json(exclude_none=True)) == spec


def test_dense_matrix_takes_its_sizes_from_the_layer() -> None:
    layer = ModelSpec.model_validate(raw_spec("dense")).layers[0]
    assert layer.kind == "recurrent"
    assert layer.input is not None
    assert layer.hidden is not None
    assert (layer.input.out_modes, layer.input.in_modes) == ((32,), (6,))
    assert (layer.hidden.out_modes, layer.hidden.in_modes) == ((32,), (8,))


@pytest.mark.parametrize("kind", ["lowrank", "cp", "kronecker"])
def test_list_of_one_rank_is_that_rank(kind: str) -> None:
    modes = {"format": kind, "in_modes": [3, 2], "out_modes": [4, 2]}
    listed = MatrixSpec.model_validate(modes | {"ranks": [2]})
    assert listed == MatrixSpec.model_validate(modes | {"ranks": 2})
    assert listed.ranks == 2


def test_einsum_matrix_takes_its_modes_from_its_sizes() -> None:
    spec = MatrixSpec.model_validate(matrix("einsum", [3, 2], 4))
    assert (spec.in_modes, spec.out_modes) == ((3, 2), (16, 2))


@pytest.mark.parametrize(("cell", "order"), [("lstm", "ifgo"), ("gru", "rzn"), ("rnn", "h")])
def test_gate_order_is_filled_in(cell: str, order: str) -> None:
    layer = ModelSpec.model_validate(raw_spec("dense", cell=cell)).layers[0]
    assert layer.kind == "recurrent"
    assert layer.gate_order == order


def test_spec_is_frozen() -> None:
    spec = ModelSpec.model_validate(raw_spec())
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"


def test_layer_without_a_kind_is_recurrent() -> None:
    assert "kind" not in raw_spec()["layers"][0]
    assert ModelSpec.model_validate(raw_spec()).layers[0].kind == "recurrent"


def test_tensors_of_a_bidirectional_gru_have_the_documented_names() -> None:
    spec = ModelSpec.model_validate(raw_spec("dense", cell="gru", bidirectional=True))
    layer = {"input.W": (24, 6), "hidden.W": (24, 8), "bias": (24,), "bias_hidden": (24,)}
    expected = {f"layers.0.{d}{n}": s for d in ("", "reverse.") for n, s in layer.items()}
    expected |= {"layers.1.weight.W": (3, 16), "layers.1.bias": (3,)}
    assert tensor_shapes(spec) == expected


def test_tensors_of_a_peephole_layer_over_a_joint_matrix() -> None:
    spec = ModelSpec.model_validate(raw_spec("lowrank", peepholes=True, joint=True))
    shapes = tensor_shapes(spec)
    assert shapes["layers.0.joint.U"] == (32, 3)
    assert shapes["layers.0.joint.V"] == (3, 14)
    assert shapes["layers.0.peepholes"] == (3, 8)


TREE = {"format": "ht", "in_modes": [3, 2], "out_modes": [16, 2], "ranks": {"leaf": 2}}
BT = {"format": "bt", "in_modes": [3, 2], "out_modes": [16, 2]}
WIDE = {"format": "mps", "in_modes": [6], "out_modes": [4, 8], "ranks": [1, 2, 2, 1]}


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("input.format", "tt", "input.format", "found 'tt', expected 'dense', 'lowrank', 'mpo'"),
        ("cell", "mgu", "cell", "found 'mgu', expected 'lstm', 'gru' or 'rnn'; choose"),
        ("gate_order", "ifog", "gate_order", "found 'ifog', expected 'ifgo' for cell lstm"),
        ("input.rank", 3, "input.rank", "expected no field of this name"),
        ("hidden_size", True, "hidden_size", "found True, expected an integer"),
        ("hidden_size", 0, "hidden_size", "found 0, expected more than 0"),
        ("hidden_size", -8, "hidden_size", "found -8, expected more than 0"),
        ("hidden_size", 2**30, "hidden_size", "expected at most 16777216"),
        ("input.in_modes", [3, 3], "input", "product 9, expected product 6 (input_size)"),
        ("hidden.in_modes", [4, 4], "hidden", "product 16, expected product 8"),
        ("hidden.out_modes", [8, 8], "hidden", "product 64, expected product 32"),
        ("input.out_modes", [8, 2, 2], "input", "2 in_modes and 3 out_modes, expected equal"),
        ("input.out_modes", [], "input", "expected at least one of each"),
        ("input.out_modes", 32, "input.out_modes", "found 32, expected a list"),
        ("input.out_modes", [1] * 17, "input.out_modes", "expected at most 16"),
        ("input.ranks", [1, 3, 3, 1], "input", "found 4 ranks, expected 3 for 2 cores"),
        ("input.ranks", [1, 3, 2], "input", "ends 1 and 2, expected 1 and 1"),
        ("input.ranks", [1, 0, 1], "input.ranks.1", "found 0, expected more than 0"),
        ("input.ranks", [1, 5, 1], "input", "rank 5 for bond r1, expected at most 4, the product"),
        ("input.ranks", 3, "input", "found one rank, expected a list of ranks for format mpo"),
        ("input.ranks", {"leaf": 2}, "input", "found ht ranks, expected a list of ranks"),
        ("input.ranks", {"blocks": 2}, "input.ranks.tucker", "found nothing, expected this field"),
        ("input.ranks", "3", "input.ranks", "found '3', expected an integer"),
        ("input.ranks", None, "input.ranks", "found None, expected an integer"),
        (
            "input",
            WIDE | {"ranks": [1, 5, 2, 1]},
            "input",
            "rank 5 for bond r1, expected at most 4",
        ),
        (
            "input",
            WIDE | {"ranks": [1, 2, 7, 1]},
            "input",
            "rank 7 for bond r2, expected at most 6",
        ),
        ("input", WIDE | {"format": "tr"}, "input", "found 4 ranks, expected 3 for a ring"),
        ("input", WIDE | {"format": "tucker"}, "input", "4 ranks, expected 2 (Tucker-2) or 3"),
        ("input", WIDE | {"format": "cp"}, "input", "found a list of ranks, expected one rank"),
        (
            "input",
            {"format": "tucker", "in_modes": [6], "out_modes": [4, 8], "ranks": [7, 2]},
            "input",
            "rank 7 for bond q0, expected at most 6",
        ),
        (
            "input",
            {"format": "lowrank", "ranks": 7},
            "input",
            "rank 7 for bond r, expected at most 6",
        ),
        ("input", {"format": "lowrank"}, "input", "found no ranks, expected one rank"),
        (
            "input",
            {"format": "lowrank", "ranks": [3, 3]},
            "input",
            "one rank for format lowrank; write one number, as ranks: 3",
        ),
        (
            "input",
            BT | {"ranks": {"tucker": [2], "blocks": 1}},
            "input",
            "1 Tucker ranks, expected 2",
        ),
        ("input", BT | {"ranks": {"tucker": [2, 5], "blocks": 1}}, "input", "5 for bond q1"),
        (
            "input",
            TREE | {"ranks": {"leaf": 5}},
            "input",
            "rank 5 for bond s_U0, expected at most 4",
        ),
        (
            "input",
            TREE | {"ranks": {"leaf": [2]}},
            "input",
            "1 leaf ranks, expected 2 for this tree",
        ),
        (
            "input",
            TREE | {"ranks": {"leaf": 2, "root": 2}},
            "input.ranks.root",
            "found 2, expected 1",
        ),
        ("input", TREE | {"tree": [0, 0]}, "input", "mode I0 twice in the tree"),
        (
            "input",
            TREE | {"tree": [0, 2]},
            "input",
            "mode I2 in the tree, expected every mode once",
        ),
        ("input", TREE | {"tree": [0, "I1"]}, "input", "no mode O1 in the tree"),
        ("input", TREE | {"tree": [0, 1.5]}, "input.tree", "found a float, expected a pair number"),
        ("input", TREE | {"tree": [0]}, "input.tree", "found a list"),
        ("input.tree", [0, 1], "input", "found a tree, expected none for format mpo"),
        ("input.tensors", {}, "input", "found tensors, expected none for format mpo"),
        ("input", {"format": "dense", "ranks": [1, 1]}, "input", "expected none"),
        ("input", {"format": "dense", "in_modes": [2, 3]}, "input", "expected both or none"),
        ("input", {"format": "dense", "in_modes": [5], "out_modes": [32]}, "input", "product 6"),
        ("input", [], "input", "found a list, expected a mapping"),
        ("input.gate_mode", 2, "input", "gate_mode 2 for 2 out_modes, expected less than 2"),
        ("input.gate_mode", 1, "input", "out_mode 1 of size 2, expected a multiple of 4"),
        ("input.gates", "separate", "input", "product 32, expected product 8 (hidden_size)"),
        ("input.gates", "both", "input.gates", "found 'both', expected 'joint' or 'separate'"),
        ("reset", "before", "", "found reset before in cell lstm, expected cell gru"),
        ("activation", "relu", "", "found activation relu in cell lstm, expected cell rnn"),
        ("joint", {"format": "dense"}, "", "found input and hidden and joint, expected input and"),
        ("hidden", None, "", "found input, expected input and hidden, or joint"),
        ("kind", "conv", "kind", "found 'conv', expected 'recurrent'"),
    ],
)
def test_wrong_layer_field_is_named_in_one_line(
    path: str, value: object, field: str, message: str
) -> None:
    text = refusal(changed(path, value))
    where = ".".join(("layers.0", *([field] if field else [])))
    assert text.startswith(f"a.yaml: {where}: found ")
    assert message in text


def test_integer_too_long_to_print_is_named_in_one_line() -> None:
    message = refusal(changed("hidden_size", 1 << 20000))
    assert "layers.0.hidden_size: found an integer of 20001 bits" in message


EINSUM = matrix("einsum", [3, 2], 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tensors": {}}, "found 0 tensors, expected 1 to 64"),
        ({"tensors": None}, "found no tensors, expected it for format einsum"),
        ({"tensors": {"x": ["a"]}}, "found tensor name 'x'"),
        ({"tensors": {"a.b": ["a"]}}, "found tensor name 'a.b'"),
        ({"tensors": {"A": ["a", "a"]}}, "found tensor A over ['a', 'a']"),
        ({"tensors": {"A": ["a", "c", "z"]}}, "found index b in no tensor"),
        ({"sizes": {"a": 16, "b": 2, "c": 3, "d": 2}}, "found index k without a size"),
        ({"inputs": ["c", "c"]}, "found an index twice in inputs and outputs"),
        ({"inputs": ["c", "a"]}, "found an index twice in inputs and outputs"),
        ({"inputs": ["c", "y"]}, "found index y in no tensor"),
        ({"inputs": []}, "found 0 in_modes and 2 out_modes"),
        ({"in_modes": [2, 3]}, "found in_modes [2, 3], expected [3, 2]"),
        ({"ranks": 2}, "found ranks, expected none for format einsum"),
        ({"gates": "separate", "gate_mode": 1}, "found gate_mode 1, expected 0"),
    ],
)
def test_wrong_einsum_is_named_in_one_line(change: dict[str, Any], message: str) -> None:
    assert message in refusal(changed("input", EINSUM | change))


def test_index_g_of_an_einsum_is_refused_where_the_gate_takes_the_name() -> None:
    raw: dict[str, Any] = {"format": "einsum", "tensors": {"A": ["g", "i"]}, "gates": "separate"}
    raw |= {"sizes": {"g": 8, "i": 6}, "inputs": ["i"], "outputs": ["g"]}
    assert "found index g, expected another name" in refusal(changed("input", raw))
    MatrixSpec.model_validate(raw | {"gates": "joint"})


HEAD = raw_spec()["layers"][1]
TWICE = [raw_spec()["layers"][0]] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1, "head": {"out_size": 3}}, "version: found 1, expected 2"),
        ({"name": ""}, "name: found"),
        ({"layers": []}, "layers: found 0 entries, expected at least 1"),
        ({"layers": TWICE}, "layers.1.input_size: found 6, expected 8, the output of layers.0"),
        ({"layers": [HEAD]}, "output: found last, expected sequence in a model without recurrent"),
        (
            {"layers": [HEAD | {"out_size": -1}]},
            "layers.0.out_size: found -1, expected more than 0",
        ),
        ({"layers": [HEAD | {"out_size": 2**24}]}, "layers.0.weight: found 134217728 elements in"),
        (
            {"layers": [HEAD | {"activation": "gelu"}]},
            "layers.0.activation: found 'gelu', expected",
        ),
        ({"head": {}}, "head: found a dict, expected no field of this name"),
        ({1: 2}, "found 1, expected"),
        ({"scales": {"layers.0.x": 4}}, "data_bits, scales: found one without the other"),
        ({"scales": {"layers.0.x": 400}, "data_bits": 8}, "scales.layers.0.x: found 400, expected"),
        ({"data_bits": 12}, "data_bits: found 12, expected 8 or 16"),
        (
            {"embedding": {"vocabulary": 5, "out_size": 4, "weight": {"format": "dense"}}},
            "layers.0.input_size: found 6, expected 4, the output of embedding",
        ),
        (
            {
                "embedding": {
                    "vocabulary": 5,
                    "out_size": 4,
                    "weight": {
                        "format": "mps",
                        "in_modes": [2, 2],
                        "out_modes": [4],
                        "ranks": [1, 2, 2, 1],
                    },
                }
            },
            "embedding.weight: found in_modes [2, 2] with product 4, expected at least 5",
        ),
    ],
)
def test_wrong_model_field_is_named_in_one_line(change: dict[Any, Any], message: str) -> None:
    assert message in refusal(raw_spec() | change)


def test_one_gate_has_nothing_to_set_apart() -> None:
    raw = raw_spec("mpo", cell="rnn")
    raw["layers"][0]["input"]["gates"] = "separate"
    assert "layers.0.input: found gates set apart, expected gates joint" in refusal(raw)


def test_joint_matrix_must_be_cut_between_x_and_h() -> None:
    layer = recurrent("mpo", joint=True)
    layer["joint"]["in_modes"] = [2, 7]
    raw = raw_spec() | {"layers": [layer]}
    message = "layers.0.joint: found input_size 6 with in_modes [2, 7], expected a multiple of 7"
    assert message in refusal(raw)


def test_rank_of_the_only_leaf_of_a_tree_is_free() -> None:
    raw = {"format": "ht", "in_modes": [3], "out_modes": [4], "ranks": {"leaf": 5}}
    assert MatrixSpec.model_validate(raw).in_size == 3


def test_dense_matrix_beyond_the_limit_is_refused() -> None:
    raw = changed("input_size", 2**24, "dense")
    assert "found 536870912 elements in tensor W, expected at most 67108864" in refusal(raw)


def test_model_beyond_the_limit_is_refused() -> None:
    layer = {"kind": "linear", "input_size": 8000, "out_size": 8000, "weight": {"format": "dense"}}
    raw = {"name": "large", "layers": [layer] * 3, "output": "sequence"}
    assert "layers: found 192000000 weights, expected at most 134217728" in refusal(raw)


@pytest.mark.parametrize("raw", [None, [], 3, "text"])
def test_spec_that_is_no_mapping_is_refused(raw: object) -> None:
    assert "expected a mapping" in refusal(raw)
