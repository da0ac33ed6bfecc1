"""Modules: the contract of Module, and layers against NumPy formulas."""

import copy
import io
import math
import pickle

import numpy as np
import pytest

import reference as R
import rustgrad as torch
from rustgrad import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.scale = nn.Parameter(torch.ones(3))
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("table", torch.zeros(2))
        self.register_buffer("scratch", torch.zeros(1), persistent=False)
        self.items = [nn.Linear(1, 1)]
        self.plain = torch.zeros(1)

    def forward(self, x):
        return self.norm(self.first(x) * self.scale)


def numpy(t):
    return t.detach().numpy()


def fill(module, seed=0):
    """Every parameter and buffer of a module from one stream, in float64."""
    rng = np.random.default_rng(seed)
    module.double()
    for t in [*module.parameters(), *module.buffers()]:
        if t.is_floating_point():
            t.data.copy_(torch.tensor(rng.uniform(0.2, 1.0, tuple(t.shape)) * rng.choice([1.0, -1.0] if t.requires_grad else [1.0], tuple(t.shape))))
    return module


def draw(*shape, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def close(t, want, tol=1e-9):
    assert tuple(t.shape) == np.shape(want)
    np.testing.assert_allclose(numpy(t), want, rtol=tol, atol=tol)


# The contract of Module


def test_names_and_order():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == ["scale", "first.weight", "first.bias", "norm.weight", "norm.bias"]
    assert [n for n, _ in net.named_buffers()] == ["table", "scratch", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "norm"]
    assert [n for n, _ in net.named_children()] == ["first", "norm"]
    assert list(net.state_dict()) == [
        "scale", "table", "first.weight", "first.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
        "norm.num_batches_tracked",
    ]
    assert net.get_parameter("first.weight") is net.first.weight
    assert net.get_submodule("norm") is net.norm


def test_state_dict_aliases_and_has_metadata():
    net = Net()
    state = net.state_dict()
    state["scale"].fill_(7)
    assert net.scale.tolist() == [7, 7, 7]
    assert not state["scale"].requires_grad
    assert state._metadata["norm"] == {"version": 2}
    assert list(net.state_dict(prefix="m."))[0] == "m.scale"


def test_strict_loading():
    net = Net()
    state = net.state_dict()
    state["extra"] = torch.zeros(1)
    del state["table"]
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    assert str(caught.value) == (
        'Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: "table". \n\tUnexpected key(s) in state_dict: "extra". ')
    result = net.load_state_dict(state, strict=False)
    assert (result.missing_keys, result.unexpected_keys) == (["table"], ["extra"])
    assert repr(net.load_state_dict(net.state_dict())) == "<All keys matched successfully>"
    with pytest.raises(RuntimeError) as caught:
        nn.Linear(2, 3).load_state_dict(nn.Linear(4, 3).state_dict())
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Linear:\n\tsize mismatch for weight: copying a param with shape torch.Size([3, 4]) from checkpoint, "
        "the shape in current model is torch.Size([3, 2]).")


def test_loading_copies_into_the_same_parameter_and_casts():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2).double()
    weight = a.weight
    a.load_state_dict(b.state_dict())
    assert a.weight is weight
    assert a.weight.dtype is torch.float32
    close(a.weight.double(), numpy(b.weight), 1e-6)
    a.load_state_dict({k: v * 2 for k, v in b.state_dict().items()}, assign=True)
    assert a.weight.dtype is torch.float64


def test_attribute_routing():
    net = Net()
    with pytest.raises(TypeError, match="cannot assign 'torch.FloatTensor' as parameter 'scale'"):
        net.scale = torch.ones(3)
    net.table = torch.ones(2)
    assert net.state_dict()["table"].tolist() == [1, 1]
    with pytest.raises(TypeError, match="cannot assign 'int' object to buffer 'table'|cannot assign '.*int.*' as buffer 'table'"):
        net.table = 3
    net.first = nn.Linear(2, 4)
    assert next(iter(net._modules)) == "first"
    del net.norm
    assert not hasattr(net, "norm")
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'missing'"):
        net.missing

    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"cannot assign module before Module.__init__\(\) call"):
        Early()
    with pytest.raises(KeyError, match="parameter name can.*t contain"):
        net.register_parameter("a.b", None)
    with pytest.raises(KeyError, match="attribute 'table' already exists"):
        net.register_parameter("table", None)


def test_shared_modules_count_once_as_parameters_and_twice_in_the_state():
    layer = nn.Linear(1, 1)
    net = nn.Sequential(layer, layer)
    assert len(list(net.parameters())) == 2
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_conversion_keeps_parameters_and_leaves_integer_buffers():
    net = Net()
    scale = net.scale
    net.half()
    assert net.scale is scale
    assert (net.scale.dtype, net.norm.num_batches_tracked.dtype) == (torch.float16, torch.int64)
    net.to(torch.float64)
    assert net.table.dtype is torch.float64
    assert net.plain.dtype is torch.float32


def test_train_eval_and_requires_grad():
    net = Net()
    assert net.eval() is net
    assert not net.norm.training
    net.train()
    assert net.norm.training
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_zero_grad():
    layer = nn.Linear(1, 1)
    layer(torch.ones(1)).sum().backward()
    layer.zero_grad()
    assert layer.weight.grad is None
    layer(torch.ones(1)).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.item() == 0


def test_apply_is_post_order():
    seen = []
    nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU())).apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "ReLU", "Sequential", "Sequential"]


def test_forward_hooks():
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(2)
        layer.bias.zero_()
    seen = []
    pre = layer.register_forward_pre_hook(lambda m, args: (args[0] + 1,))
    post = layer.register_forward_hook(lambda m, args, out: seen.append(args[0].item()) or out * 10)
    assert layer(torch.ones(1)).item() == 40
    assert seen == [2.0]
    pre.remove()
    post.remove()
    assert layer(torch.ones(1)).item() == 2
    layer.register_forward_hook(lambda m, args, kwargs, out: out + kwargs.get("k", 0), with_kwargs=True)
    assert layer(torch.ones(1)).item() == 2


def test_full_backward_hooks():
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(3)
    seen = []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi[0].item(), go[0].item())) or (gi[0] * 2,))
    x = torch.ones(1, requires_grad=True)
    (layer(x) * 5).backward()
    assert seen == [(15.0, 5.0)]
    assert x.grad.item() == 30


def test_containers():
    seq = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    seq.append(nn.Linear(2, 1))
    assert len(seq) == 3
    assert isinstance(seq[-1], nn.Linear)
    assert isinstance(seq[:2], nn.Sequential)
    layers = nn.ModuleList([nn.ReLU()])
    layers.extend([nn.Tanh()])
    layers.insert(0, nn.Identity())
    assert [type(m).__name__ for m in layers] == ["Identity", "ReLU", "Tanh"]
    table = nn.ModuleDict({"a": nn.ReLU()})
    table["b"] = nn.Tanh()
    assert list(table) == ["a", "b"]
    params = nn.ParameterList([torch.ones(1)])
    assert isinstance(params[0], nn.Parameter)
    assert list(nn.ParameterDict({"w": torch.ones(1)}).state_dict()) == ["w"]


def test_copies_and_pickles():
    net = Net()
    other = copy.deepcopy(net)
    other.scale.data.fill_(5)
    assert net.scale.tolist() == [1, 1, 1]
    assert isinstance(other.scale, nn.Parameter)
    again = pickle.loads(pickle.dumps(nn.Linear(2, 2)))
    assert again(torch.ones(1, 2)).shape == (1, 2)
    out = io.BytesIO()
    torch.save(net.state_dict(), out)
    out.seek(0)
    assert list(torch.load(out)) == list(net.state_dict())


REPRS = [
    ("nn.Linear(2, 3, bias=False)", "Linear(in_features=2, out_features=3, bias=False)"),
    ("nn.Conv2d(1, 4, 3, padding=1, stride=2)", "Conv2d(1, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))"),
    ("nn.ConvTranspose1d(2, 4, 3, groups=2, bias=False)", "ConvTranspose1d(2, 4, kernel_size=(3,), stride=(1,), groups=2, bias=False)"),
    ("nn.BatchNorm2d(4)", "BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)"),
    ("nn.LayerNorm(4)", "LayerNorm((4,), eps=1e-05, elementwise_affine=True, bias=True)"),
    ("nn.GroupNorm(2, 4)", "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)"),
    ("nn.Dropout(0.2)", "Dropout(p=0.2, inplace=False)"),
    ("nn.MaxPool2d(2)", "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"),
    ("nn.AvgPool2d(2, 1)", "AvgPool2d(kernel_size=2, stride=1, padding=0)"),
    ("nn.AdaptiveAvgPool2d((1, 1))", "AdaptiveAvgPool2d(output_size=(1, 1))"),
    ("nn.Embedding(3, 4, padding_idx=0)", "Embedding(3, 4, padding_idx=0)"),
    ("nn.LSTM(3, 4, 2, batch_first=True)", "LSTM(3, 4, num_layers=2, batch_first=True)"),
    ("nn.GRUCell(3, 4)", "GRUCell(3, 4)"),
    ("nn.LeakyReLU(0.2)", "LeakyReLU(negative_slope=0.2)"),
    ("nn.ReLU(inplace=True)", "ReLU(inplace=True)"),
    ("nn.GELU()", "GELU(approximate='none')"),
    ("nn.Softmax(dim=1)", "Softmax(dim=1)"),
    ("nn.Flatten()", "Flatten(start_dim=1, end_dim=-1)"),
    ("nn.Upsample(scale_factor=2)", "Upsample(scale_factor=2.0, mode='nearest')"),
    ("nn.CrossEntropyLoss()", "CrossEntropyLoss()"),
    ("nn.Identity()", "Identity()"),
    ("nn.Sequential(nn.Linear(1, 2), nn.Sequential(nn.ReLU(), nn.Tanh()))",
     "Sequential(\n  (0): Linear(in_features=1, out_features=2, bias=True)\n  (1): Sequential(\n    (0): ReLU()\n    (1): Tanh()\n  )\n)"),
    ("nn.ModuleList([nn.ReLU(), nn.ReLU()])", "ModuleList(\n  (0-1): 2 x ReLU()\n)"),
    ("nn.MultiheadAttention(4, 2)", "MultiheadAttention(\n  (out_proj): NonDynamicallyQuantizableLinear(in_features=4, out_features=4, bias=True)\n)"),
]


@pytest.mark.parametrize(("code", "want"), REPRS, ids=[r[0] for r in REPRS])
def test_repr(code, want):
    assert repr(eval(code, {"nn": nn})) == want


# Layers


def test_linear():
    layer, x = fill(nn.Linear(3, 2)), draw(4, 3)
    close(layer(torch.tensor(x)), x @ numpy(layer.weight).T + numpy(layer.bias))
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied \(4x3 and 2x5\)"):
        nn.Linear(2, 5)(torch.ones(4, 3))


@pytest.mark.parametrize("kwargs", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": "same"}, {"groups": 2}], ids=str)
def test_conv2d(kwargs):
    layer, x = fill(nn.Conv2d(4, 6, 3, **kwargs)), draw(2, 4, 7, 6)
    close(layer(torch.tensor(x)), R.conv(2)(x, numpy(layer.weight), numpy(layer.bias), **kwargs))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_conv_padding_modes(mode):
    layer, x = fill(nn.Conv2d(1, 1, 3, padding=1, padding_mode=mode)), draw(1, 1, 4, 5)
    close(layer(torch.tensor(x)), R.conv(2)(R.pad(x, (1, 1, 1, 1), mode), numpy(layer.weight), numpy(layer.bias)))


def test_batch_norm_in_training_and_evaluation():
    layer, x = nn.BatchNorm2d(3).double(), draw(4, 3, 2, 2)
    y = layer(torch.tensor(x))
    close(y, R.batch_norm(x, None, None, training=True))
    axes = (0, 2, 3)
    close(layer.running_mean, 0.1 * x.mean(axes))
    close(layer.running_var, 0.9 + 0.1 * x.var(axes, ddof=1))
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    close(layer(torch.tensor(x)), R.batch_norm(x, numpy(layer.running_mean), numpy(layer.running_var)))
    assert layer.num_batches_tracked.item() == 1
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        nn.BatchNorm1d(3)(torch.ones(1, 3))
    with pytest.raises(ValueError, match=r"expected 4D input \(got 2D input\)"):
        layer(torch.ones(2, 3))
    cumulative = nn.BatchNorm1d(1, momentum=None).double()
    for value in (0.0, 3.0):
        cumulative(torch.tensor([[value], [value + 2]], dtype=torch.float64))
    close(cumulative.running_mean, [2.5])


def test_layer_group_instance_and_rms_norm():
    x = draw(2, 4, 3)
    layer = fill(nn.LayerNorm(3))
    close(layer(torch.tensor(x)), R.layer_norm(x, (3,), numpy(layer.weight), numpy(layer.bias)))
    layer = fill(nn.GroupNorm(2, 4))
    close(layer(torch.tensor(x)), R.group_norm(x, 2, numpy(layer.weight), numpy(layer.bias)))
    close(nn.InstanceNorm1d(4).double()(torch.tensor(x)), R.group_norm(x, 4))
    layer = fill(nn.RMSNorm(3, eps=1e-6))
    close(layer(torch.tensor(x)), R.rms_norm(x, (3,), numpy(layer.weight), 1e-6))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step(x, h, c, wi, wh, bi, bh):
    i, f, g, o = np.split(x @ wi.T + bi + h @ wh.T + bh, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x, h, wi, wh, bi, bh):
    ir, iz, inew = np.split(x @ wi.T + bi, 3, axis=-1)
    hr, hz, hnew = np.split(h @ wh.T + bh, 3, axis=-1)
    z = sigmoid(iz + hz)
    return (1 - z) * np.tanh(inew + sigmoid(ir + hr) * hnew) + z * h


def weights(rnn, layer, reverse=False):
    suffix = f"_l{layer}" + ("_reverse" if reverse else "")
    return [numpy(getattr(rnn, n + suffix)) for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def test_lstm_two_layers():
    rnn, x = fill(nn.LSTM(3, 4, num_layers=2)), draw(5, 2, 3)
    h0, c0 = draw(2, 2, 4, seed=2), draw(2, 2, 4, seed=3)
    out, (hn, cn) = rnn(torch.tensor(x), (torch.tensor(h0), torch.tensor(c0)))
    sequence = list(x)
    for layer in range(2):
        h, c = h0[layer], c0[layer]
        for t in range(5):
            h, c = lstm_step(sequence[t], h, c, *weights(rnn, layer))
            sequence[t] = h
        close(hn[layer], h)
        close(cn[layer], c)
    close(out, np.stack(sequence))


def test_gru_bidirectional_batch_first():
    rnn, x = fill(nn.GRU(3, 4, bidirectional=True, batch_first=True)), draw(2, 5, 3)
    out, hn = rnn(torch.tensor(x))
    assert list(rnn.state_dict())[4:] == ["weight_ih_l0_reverse", "weight_hh_l0_reverse", "bias_ih_l0_reverse", "bias_hh_l0_reverse"]
    for d, order in enumerate([range(5), reversed(range(5))]):
        h = np.zeros((2, 4))
        for t in order:
            h = gru_step(x[:, t], h, *weights(rnn, 0, reverse=bool(d)))
            close(out[:, t, 4 * d : 4 * d + 4], h)
        close(hn[d], h)


def test_rnn_and_cells():
    rnn, x = fill(nn.RNN(3, 4, nonlinearity="relu")), draw(5, 2, 3)
    out, _ = rnn(torch.tensor(x))
    h = np.zeros((2, 4))
    wi, wh, bi, bh = weights(rnn, 0)
    for t in range(5):
        h = np.maximum(x[t] @ wi.T + bi + h @ wh.T + bh, 0)
        close(out[t], h)
    cell = fill(nn.LSTMCell(3, 4))
    w = [numpy(p) for p in cell.parameters()]
    h, c = lstm_step(x[0], np.ones((2, 4)), np.ones((2, 4)), *w)
    ones = torch.ones(2, 4, dtype=torch.float64)
    got_h, got_c = cell(torch.tensor(x[0]), (ones, ones))
    close(got_h, h)
    close(got_c, c)
    cell = fill(nn.GRUCell(3, 4))
    close(cell(torch.tensor(x[0]), ones), gru_step(x[0], np.ones((2, 4)), *[numpy(p) for p in cell.parameters()]))


def test_packed_sequences_stop_at_their_length():
    from rustgrad.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    rnn, x = fill(nn.LSTM(3, 4, batch_first=True)), torch.tensor(draw(2, 5, 3))
    packed = pack_padded_sequence(x, [5, 3], batch_first=True)
    assert packed.batch_sizes.tolist() == [2, 2, 2, 1, 1]
    out, (hn, _) = rnn(packed)
    padded, lengths = pad_packed_sequence(out, batch_first=True)
    assert lengths.tolist() == [5, 3]
    alone, _ = rnn(x[1:, :3])
    close(padded[1, :3], numpy(alone[0]))
    close(hn[0, 1], numpy(alone[0, 2]))
    assert padded[1, 3:].abs().sum().item() == 0


def test_multihead_attention():
    layer, x = fill(nn.MultiheadAttention(6, 2, batch_first=True)), draw(2, 3, 6)
    out, w = layer(*[torch.tensor(x)] * 3, average_attn_weights=False)
    assert w.shape == (2, 2, 3, 3)
    wq, wk, wv = np.split(numpy(layer.in_proj_weight), 3)
    bq, bk, bv = np.split(numpy(layer.in_proj_bias), 3)
    heads = [(x @ m.T + b).reshape(2, 3, 2, 3).swapaxes(1, 2) for m, b in ((wq, bq), (wk, bk), (wv, bv))]
    mixed = R.attention(*heads).swapaxes(1, 2).reshape(2, 3, 6)
    close(out, mixed @ numpy(layer.out_proj.weight).T + numpy(layer.out_proj.bias))
    close(w, R.softmax(heads[0] @ heads[1].swapaxes(-1, -2) / math.sqrt(3), -1))
    mask = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)
    _, w = layer(*[torch.tensor(x)] * 3, attn_mask=mask)
    assert w[0, 0, 1:].tolist() == [0, 0]
    _, w = layer(*[torch.tensor(x)] * 3, key_padding_mask=torch.tensor([[False, False, True]] * 2))
    assert w[..., 2].abs().sum().item() == 0


def test_transformer_layers():
    layer = fill(nn.TransformerEncoderLayer(4, 2, dim_feedforward=8, dropout=0.0, batch_first=True))
    x = torch.tensor(draw(2, 3, 4))
    h = layer.norm1(x + layer.self_attn(x, x, x)[0])
    want = layer.norm2(h + layer.linear2(torch.relu(layer.linear1(h))))
    close(layer(x), numpy(want))
    for layer.activation in (nn.functional.relu, nn.functional.gelu):  # without a gradient the activation is part of the product
        want = layer(x)
        with torch.no_grad():
            close(layer(x), numpy(want))
            with torch.autocast("cpu", torch.bfloat16):
                assert torch.equal(layer._ff_block(x), layer.linear2(layer.activation(layer.linear1(x))))
    encoder = nn.TransformerEncoder(layer, 2)
    assert encoder.layers[0] is not encoder.layers[1]
    assert encoder(x).shape == (2, 3, 4)
    decoder = nn.TransformerDecoderLayer(4, 2, 8, 0.0, batch_first=True).double()
    assert decoder(x, x[:, :2]).shape == (2, 3, 4)
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    assert mask.tolist() == [[0, -math.inf, -math.inf], [0, 0, -math.inf], [0, 0, 0]]


def test_embedding():
    layer = nn.Embedding(4, 2, padding_idx=1)
    assert layer.weight[1].tolist() == [0, 0]
    layer(torch.tensor([[0, 1], [0, 3]])).sum().backward()
    assert layer.weight.grad[:, 0].tolist() == [2, 0, 0, 1]
    assert nn.Embedding.from_pretrained(torch.eye(3))(torch.tensor(2)).tolist() == [0, 0, 1]
    with pytest.raises(IndexError, match="index out of range in self"):
        layer(torch.tensor([4]))


def test_losses_as_modules():
    x, t = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0])
    assert nn.CrossEntropyLoss()(x, t).item() == pytest.approx(math.log(1 + math.exp(-2) + math.exp(-3)), rel=1e-6)
    assert nn.CrossEntropyLoss(ignore_index=0)(x, t).isnan().item()
    assert nn.BCELoss()(torch.tensor([0.0]), torch.tensor([1.0])).item() == 100
    with pytest.warns(UserWarning, match="Using a target size"):
        nn.MSELoss()(torch.ones(2, 1), torch.ones(2))


def test_lazy_modules():
    layer = nn.LazyLinear(3)
    assert layer(torch.ones(2, 5)).shape == (2, 3)
    assert layer.in_features == 5
    assert type(layer) is nn.Linear


def test_clip_and_parameter_vectors():
    from rustgrad.nn import utils

    p = nn.Parameter(torch.zeros(2))
    p.grad = torch.tensor([3.0, 4.0])
    assert utils.clip_grad_norm_([p], 1.0).item() == 5.0
    np.testing.assert_allclose(p.grad.tolist(), [0.6, 0.8], rtol=1e-6)
    utils.clip_grad_value_([p], 0.7)
    assert p.grad.tolist() == pytest.approx([0.6, 0.7])
    assert utils.parameters_to_vector([p, p]).shape == (4,)


def test_weight_and_spectral_norm():
    from rustgrad.nn.utils import parametrizations

    layer = parametrizations.weight_norm(fill(nn.Linear(3, 2)))
    w = numpy(layer.parametrizations.weight.original1)
    g = numpy(layer.parametrizations.weight.original0)
    close(layer.weight, g * w / np.linalg.norm(w, axis=1, keepdims=True))
    torch.manual_seed(0)
    layer = parametrizations.spectral_norm(fill(nn.Linear(3, 2)), n_power_iterations=50)
    layer(torch.zeros(1, 3, dtype=torch.float64))
    assert np.linalg.svd(numpy(layer.weight))[1][0] == pytest.approx(1, abs=1e-6)


def test_functional_call():
    from rustgrad.func import functional_call

    layer = nn.Linear(1, 1)
    out = functional_call(layer, {"weight": torch.tensor([[3.0]]), "bias": torch.tensor([1.0])}, (torch.tensor([2.0]),))
    assert out.item() == 7
    assert layer.weight.item() != 3


def test_max_pool_windows_far_larger_than_the_image():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    values, index = torch.nn.functional.max_pool2d(x, 2**31 - 1, 1, 2**30 - 1, return_indices=True)
    assert values.shape == (1, 1, 4, 4)
    assert bool((values == 15).all()) and bool((index == 15).all())
    with pytest.raises(RuntimeError, match="pad should be smaller than or equal to half of kernel size"):
        torch.nn.functional.max_pool2d(x, 2, padding=2, dilation=3)
