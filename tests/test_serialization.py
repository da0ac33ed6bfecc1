"""Checkpoints: PyTorch's files are read, ours have PyTorch's layout, hostile and damaged files raise."""

import collections
import copy
import io
import pathlib
import pickle
import pickletools
import struct
import zipfile

import pytest

import rustgrad as torch
from rustgrad import nn, safetensors, serialization

DATA = pathlib.Path(__file__).parent / "data"


def saved(obj, **kwargs):
    out = io.BytesIO()
    torch.save(obj, out, **kwargs)
    return out.getvalue()


def loaded(data, **kwargs):
    return torch.load(io.BytesIO(data), **kwargs)


def again(obj, **kwargs):
    return loaded(saved(obj), **kwargs)


def altered(data, **members):
    """The archive with members replaced; None removes one."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = members.get(name.split("/", 1)[1], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return out.getvalue()


def with_pickle(content):
    return altered(saved({}), **{"data.pkl": content})


# Files that PyTorch wrote


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("weights_only", [False, True])
def test_checkpoint_of_torch(weights_only, mmap):
    state = torch.load(DATA / "checkpoint.pt", weights_only=weights_only, mmap=mmap)
    assert type(state["model"]) is collections.OrderedDict
    assert state["model"]["weight"].tolist() == [[0.0, 0.25, 0.5], [0.75, 1.0, 1.25]]
    assert state["model"]["bias"].tolist() == [-1.0, 1.0]
    assert state["epoch"] == 3
    assert state["config"] == {"name": "tiny", "tags": ["a", "b"], "flag": True, "none": None}
    moments = state["optimizer"]["state"][0]
    assert moments["step"].item() == 1.0
    assert moments["exp_avg"].tolist() == [[pytest.approx(0.1)] * 3] * 2
    assert state["optimizer"]["param_groups"][0]["lr"] == 0.01
    assert isinstance(state["parameter"], nn.Parameter)
    assert state["parameter"].requires_grad
    assert (state["half"].dtype, state["half"].tolist()) == (torch.float16, [0.5, -2.0])
    assert (state["bf16"].dtype, state["bf16"].tolist()) == (torch.bfloat16, [0.5, -2.0])
    assert state["bool"].tolist() == [True, False]
    assert state["transposed"].stride() == (1, 3)
    assert state["transposed"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert state["size"] == torch.Size([2, 3])
    assert type(state["size"]) is torch.Size
    assert state["dtype"] is torch.float64


def test_views_of_torch_share_again():
    first, second = torch.load(DATA / "checkpoint.pt")["views"]
    assert (first.tolist(), second.tolist()) == ([0, 1, 2, 3], [2, 4, 6])
    first[2] = 99
    assert second.tolist() == [99, 4, 6]
    assert first.untyped_storage().nbytes() == 80


def test_optimizer_goes_on_from_torch():
    state = torch.load(DATA / "checkpoint.pt")
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    assert optimizer.param_groups[0]["lr"] == 0.01
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert optimizer.state[model.weight]["step"].item() == 2.0
    assert model.bias.tolist() == [pytest.approx(-1.01), pytest.approx(0.99)]


@pytest.mark.parametrize("weights_only", [False, True])
def test_legacy_file_of_torch(weights_only):
    with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device"):
        torch.load(DATA / "legacy_cuda.pth", weights_only=weights_only)
    state = torch.load(DATA / "legacy_cuda.pth", map_location="cpu", weights_only=weights_only)
    assert state["weight"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert state["step"] == 7
    first, second = state["shared"]
    first[2] = 99
    assert second.tolist() == [99, 4, 6]


@pytest.mark.parametrize(
    "place",
    ["cpu", torch.device("cpu"), {"cuda:0": "cpu"}, lambda storage, location: storage],
    ids=["name", "device", "dict", "function"],
)
def test_map_location(place):
    assert torch.load(DATA / "legacy_cuda.pth", map_location=place)["weight"].device.type == "cpu"


def test_map_location_meta_and_function_arguments():
    assert torch.load(DATA / "checkpoint.pt", map_location="meta")["half"].device.type == "meta"
    seen = set()
    torch.load(DATA / "legacy_cuda.pth", map_location=lambda storage, location: seen.add(location) or storage)
    assert seen == {"cuda:0"}
    with pytest.raises(RuntimeError, match="don't know how to restore data location .*tagged with nowhere"):
        torch.load(DATA / "legacy_cuda.pth", map_location="nowhere")


def test_module_of_torch():
    with pytest.raises(pickle.UnpicklingError, match="Unsupported global: GLOBAL torch.nn.modules.container.Sequential"):
        torch.load(DATA / "module.pt")
    model = torch.load(DATA / "module.pt", weights_only=False)
    assert type(model) is nn.Sequential
    assert model[0].weight.shape == (1, 2)


# Our files


def test_archive_layout():
    data = saved({"a": torch.tensor([1, 2]), "lr": 0.1, "w": torch.ones(2, 2), "b": torch.zeros(1)})
    assert data[:4] == b"PK\x03\x04"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == [
            "archive/data.pkl",
            "archive/.format_version",
            "archive/.storage_alignment",
            "archive/byteorder",
            "archive/data/0",
            "archive/data/1",
            "archive/data/2",
            "archive/version",
            "archive/.data/serialization_id",
        ]
        assert archive.testzip() is None
        assert archive.read("archive/version") == b"3\n"
        assert archive.read("archive/data/0") == struct.pack("<qq", 1, 2)
        assert len(archive.read("archive/.data/serialization_id")) == 40
        for info in archive.infolist():
            name, extra = struct.unpack("<HH", data[info.header_offset + 26 : info.header_offset + 30])
            assert (info.header_offset + 30 + name + extra) % 64 == 0


def test_names_are_those_of_torch():
    data = saved([torch.ones(1), nn.Parameter(torch.ones(1)), torch.Size([1]), torch.float32, torch.device("cpu")])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        text = archive.read("archive/data.pkl")
    names = {arg for opcode, arg, _ in pickletools.genops(text) if opcode.name == "GLOBAL"}
    assert names == {
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        "torch FloatStorage",
        "torch Size",
        "torch float32",
        "torch device",
        "collections OrderedDict",
    }


def test_size_of_a_file_with_shared_storage():
    base = torch.arange(10)
    data = saved((base[:2], base[5:]))
    assert len(data) == 1705  # PyTorch's file has this size to the byte
    first, second = loaded(data)
    assert second.tolist() == [5, 6, 7, 8, 9]
    assert first.untyped_storage().size() == 80
    assert saved(1) == saved(1)


def test_folder_is_named_after_the_file(tmp_path):
    torch.save({"x": 1}, tmp_path / "net.best.pt")
    with zipfile.ZipFile(tmp_path / "net.best.pt") as archive:
        assert archive.namelist()[0] == "net.best/data.pkl"
    assert torch.load(str(tmp_path / "net.best.pt")) == {"x": 1}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("weights_only", [False, True])
@pytest.mark.parametrize(
    "name", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_round_trip_of_dtypes(name, weights_only, legacy):
    dtype = getattr(torch, name)
    before = {"x": torch.tensor([[0, 1, 2], [3, 4, 5]]).to(dtype), "empty": torch.zeros(2, 0, dtype=dtype)}
    after = loaded(saved(before, _use_new_zipfile_serialization=not legacy), weights_only=weights_only)
    assert after["x"].dtype is dtype
    assert torch.equal(after["x"], before["x"])
    assert after["empty"].shape == (2, 0)


def test_round_trip_keeps_layout_and_kind():
    x = torch.arange(24.0).reshape(2, 3, 4)
    views = [x.transpose(0, 2), x[1, 1:, ::2], x[0, 0, 0], x[:1].expand(5, 3, 4)]
    for before, after in zip(views, again(views)):
        assert (after.stride(), after.storage_offset()) == (before.stride(), before.storage_offset())
        assert torch.equal(before, after)
    leaf, parameter, frozen = again(
        [torch.ones(2, requires_grad=True), nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1), False)]
    )
    assert leaf.requires_grad
    assert leaf.is_leaf
    assert (type(parameter), parameter.requires_grad) == (nn.Parameter, True)
    assert (type(frozen), frozen.requires_grad) == (nn.Parameter, False)


def test_plain_values():
    values = {"set": {1}, "bytes": b"x", "big": 10**40, "neg": -5, "float": 1e300, "complex": 1 + 2j, "t": ((), (1,))}
    values |= {"none": None, "ü": "ü" * 300, "list": list(range(300)), "counter": collections.Counter("aab")}
    assert again(values) == values


class Custom:
    def __init__(self, value):
        self.value = value


def test_safe_globals():
    data = saved(Custom(3))
    with pytest.raises(pickle.UnpicklingError, match=r"Please use `torch.serialization.add_safe_globals\("):
        loaded(data)
    assert serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data)) == [f"{__name__}.Custom"]
    with serialization.safe_globals([Custom]):
        assert loaded(data).value == 3
        assert Custom in serialization.get_safe_globals()
    with pytest.raises(pickle.UnpicklingError):
        loaded(data)
    serialization.add_safe_globals([Custom])
    try:
        assert loaded(data).value == 3
    finally:
        serialization.clear_safe_globals()
    assert serialization.get_safe_globals() == []
    assert loaded(data, weights_only=False).value == 3


def test_module_round_trip():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    copied = again(model, weights_only=False)
    assert torch.equal(copied[0].weight, model[0].weight)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        again(model)


# Pickle and copy


def test_pickle_and_deepcopy():
    x = torch.arange(12.0).reshape(3, 4)
    view = x.t()[1:3]
    for protocol in (2, 4, 5):
        back = pickle.loads(pickle.dumps(view, protocol))
        assert torch.equal(back, view)
        assert back.stride() == view.stride()
    parameter = pickle.loads(pickle.dumps(nn.Parameter(torch.ones(2))))
    assert type(parameter) is nn.Parameter
    first, second = copy.deepcopy([x, x[1]])
    first[1, 0] = 99
    assert second[0] == 99
    assert x[1, 0] == 4
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(torch.ones(1, requires_grad=True) * 2)


# Hostile and damaged files


class Evil:
    def __reduce__(self):
        return print, ("this must not be run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02cos\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02R.", "whose module os is blocked"),
        (b"\x80\x02c__builtin__\neval\nX\x03\x00\x00\x001+1\x85R.", "Unsupported global: GLOBAL eval"),
        (b"\x80\x02ctorch\nload\nX\x01\x00\x00\x00x\x85R.", "Unsupported global: GLOBAL torch.load"),
        (b"\x80\x02ctorch.storage\nUntypedStorage\nJ\xff\xff\xff\x7f\x85R.", "unrecognized function"),
        (b"\x80\x02ctorch\nTensor\nJ\xff\xff\xff\x7f\x85R.", "unrecognized function"),
        (b"\x80\x02K\x01K\x02\x85R.", "unrecognized function 1"),
        (b"\x80\x02(i__main__\nfoo\n.", "Unsupported operand 105"),
        (b"\x80\x04\x8c\x01a.", "Unsupported operand 140"),
        (b"\x80\x02\x82\x01.", "Unsupported operand 130"),
        (b"\x80\x02h\x07.", "Memo value not found at index 7"),
        (b"\x80\x02ccollections\nOrderedDict\n)R]b.", "Weights only load failed"),
        (b"\x80\x02K\x01a.", "Weights only load failed"),
        (b"\x80\x02u.", "Weights only load failed"),
        (b"\x80\x02.", "Weights only load failed"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nK\x01\x85R.", "Weights only load failed"),
        (b"\x80\x02(X\x07\x00\x00\x00storageK\x01X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ.", "storage is damaged"),
    ],
)
def test_hostile_pickles_are_refused(content, message):
    with pytest.raises(pickle.UnpicklingError, match=message):
        loaded(with_pickle(content))


def test_code_in_a_file_is_not_run(capsys):
    for legacy in (False, True):
        data = saved({"x": Evil()}, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(pickle.UnpicklingError, match="GLOBAL print was not an allowed global by default"):
            loaded(data)
    assert capsys.readouterr().out == ""


def test_truncated_pickle():
    with pytest.raises(EOFError):
        loaded(with_pickle(b"\x80\x02}q\x00X\xff\xff\xff\x7f"))
    with pytest.raises(EOFError):
        loaded(b"")


def pickle_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read("archive/data.pkl")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Kd\x85", b"Kz\x85"),  # a larger size
        (b"K\x01\x85", b"K\x7f\x85"),  # a larger stride
        (b"K\x01\x85", b"J\xff\xff\xff\xff\x85"),  # a negative stride
        (b"QK\x00", b"QK\x05"),  # an offset
        (b"Kd\x85", b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85"),  # a size that overflows
        (b"cpuq\x06Kd", b"cpuq\x06K\xff"),  # a larger storage
        (b"cpuq\x06Kd", b"cpuq\x06J\xff\xff\xff\xff"),  # a negative storage
    ],
)
@pytest.mark.parametrize("weights_only", [False, True])
def test_tensors_outside_their_storage_are_refused(old, new, weights_only):
    data = saved({"a": torch.ones(100)})
    text = pickle_of(data)
    assert old in text
    with pytest.raises((RuntimeError, pickle.UnpicklingError)):
        loaded(altered(data, **{"data.pkl": text.replace(old, new)}), weights_only=weights_only)


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"data/0": b"123"}, "record size"),
        ({"data/0": b"1" * 800}, "record size"),
        ({"data/0": None}, "failed locating file data/0"),
        ({"data.pkl": None}, "failed locating file data.pkl"),
        ({"version": None}, "failed locating file"),
        ({"version": b"99"}, "version 99"),
    ],
)
def test_damaged_members(members, error):
    with pytest.raises(RuntimeError, match=error):
        loaded(altered(saved({"a": torch.ones(100)}), **members))
    with pytest.raises(ValueError, match="Unknown endianness type: middle"):
        loaded(altered(saved({"a": torch.ones(100)}), byteorder=b"middle"))


def test_big_endian_file():
    data = altered(saved(torch.tensor([1, 2])), byteorder=b"big", **{"data/0": struct.pack(">qq", 1, 2)})
    assert loaded(data).tolist() == [1, 2]


@pytest.mark.parametrize("legacy", [False, True])
def test_every_truncation_raises(legacy):
    data = saved({"a": torch.ones(20), "b": [1, 2]}, _use_new_zipfile_serialization=not legacy)
    for length in range(0, len(data) - 1, 7):
        with pytest.raises((RuntimeError, EOFError, pickle.UnpicklingError)):
            loaded(data[:length])


def test_flipped_bits_do_not_pass_unnoticed():
    data = saved(torch.ones(20))
    at = data.index(struct.pack("<f", 1.0))
    with pytest.raises(RuntimeError, match="Bad CRC-32"):
        loaded(data[:at] + b"\x01" + data[at + 1 :])


def test_wrong_arguments(tmp_path):
    with pytest.raises(AttributeError, match="expected 'f' to be string, path, or a file-like object"):
        torch.save(1, 3)
    with pytest.raises(AttributeError, match="You can only torch.load from a file that is seekable"):
        torch.load(3)
    with pytest.raises(FileNotFoundError):
        torch.load(tmp_path / "none")
    with pytest.raises(RuntimeError, match="Parent directory .* does not exist"):
        torch.save(1, tmp_path / "none" / "x.pt")
    with pytest.raises(ValueError, match="f must be a file path in order to use the mmap argument"):
        torch.load(io.BytesIO(saved(1)), mmap=True)
    with pytest.raises(RuntimeError, match="explicit pickle_module"):
        torch.load(io.BytesIO(saved(1)), pickle_module=pickle, weights_only=True)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        x = torch.zeros(4)
        torch.save([x, x.view(torch.int32)], io.BytesIO())


# safetensors


def test_safetensors_reference_file():
    tensors = safetensors.load_file(DATA / "reference.safetensors")
    assert tensors["a"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert (tensors["b"].dtype, tensors["b"].tolist()) == (torch.int8, [1, -1])
    assert (tensors["c"].dtype, tensors["c"].tolist()) == (torch.bfloat16, [0.5, -2.0])
    assert tensors["scalar"].item() == 3
    with safetensors.safe_open(DATA / "reference.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert file.keys() == ["a", "b", "c", "scalar"]
        assert file.get_slice("a")[:, 1].tolist() == [1.0, 4.0]


def test_safetensors_round_trip():
    names = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
    before = {name: torch.tensor([0, 1, 1]).to(getattr(torch, name)) for name in names}
    before |= {"empty": torch.zeros(0, 2), "scalar": torch.tensor(2.5)}
    data = safetensors.save(before, {"made by": "test"})
    after = safetensors.load(data)
    for name, tensor in before.items():
        assert after[name].dtype is tensor.dtype
        assert torch.equal(after[name], tensor)
    with pytest.raises(ValueError, match="non contiguous"):
        safetensors.save({"t": torch.ones(2, 3).t()})
    with pytest.raises(RuntimeError, match="Some tensors share memory"):
        safetensors.save({"a": before["int64"], "b": before["int64"]})


def safetensors_file(header, data=b"\0" * 16):
    return struct.pack("<Q", len(header)) + header + data


A = b'"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 1 << 60),
        struct.pack("<Q", 1000) + b"{}",
        safetensors_file(b"{"),
        safetensors_file(b"[]"),
        safetensors_file(b"[" * 100_000),
        safetensors_file(b"{" + A.replace(b"[4]", b"[5]") + b"}"),
        safetensors_file(b"{" + A.replace(b"[4]", b"[-4]") + b"}"),
        safetensors_file(b"{" + A.replace(b"[4]", b"[4.0]") + b"}"),
        safetensors_file(b"{" + A.replace(b"[0,16]", b"[16,0]") + b"}"),
        safetensors_file(b"{" + A.replace(b"[4]", b"[4611686018427387904,0,8]").replace(b"16]", b"0]") + b"}", b""),
        safetensors_file(b"{" + A.replace(b"F32", b"F31") + b"}"),
        safetensors_file(b"{" + A + b"," + A.replace(b'"a"', b'"b"') + b"}"),
        safetensors_file(b"{" + A + b"," + A + b"}"),
        safetensors_file(b"{" + A + b"}", b"\0" * 15),
        safetensors_file(b"{" + A + b"}", b"\0" * 17),
        safetensors_file(b"{" + A + b',"__metadata__":{"x":1}}'),
    ],
)
def test_damaged_safetensors(data):
    with pytest.raises(safetensors.SafetensorError):
        safetensors.load(data)
    with pytest.raises(safetensors.SafetensorError):
        safetensors._parse(memoryview(data))
