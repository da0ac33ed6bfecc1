"""The CPU generator's stream: seeds and numbers as PyTorch 2.13 gives them."""

import math
import random

import numpy as np
import pytest

import rustgrad as torch
from rustgrad import nn
from rustgrad.utils.data import (
    DataLoader,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

F = nn.functional


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(42)


def close(got, want, atol=2e-6):
    np.testing.assert_allclose(got.detach().to(torch.float64).numpy(), want, rtol=2e-6, atol=atol)


RAND = [0.8822692632675171, 0.9150039553642273, 0.38286375999450684, 0.9593056440353394, 0.3904482126235962]
RANDN = [0.33669036626815796, 0.12880940735340118, 0.23446236550807953, 0.23033303022384644, -1.1228563785552979,
         -0.18632829189300537, 2.2082014083862305, -0.637997031211853, 0.46165722608566284, 0.2673508822917938,
         0.5349046587944031, 0.809357225894928, 1.110290288925171, -1.6897989511489868, -0.9889599084854126]
RANDN_16 = [1.9269152879714966, 1.4872840642929077, 0.9007171988487244, -2.1055209636688232, 0.6784184575080872,
            -1.2345448732376099, -0.04306747764348984, -1.6046669483184814, -0.7521352767944336, 1.6487230062484741,
            -0.3924786448478699, -1.4036071300506592, -0.7278813123703003, -0.5594301819801331, -0.7688388824462891,
            0.7624453902244568]
RANDN_17 = [1.9269152879714966, -0.1595974713563919, -0.4973975419998169, 0.439589262008667, -0.7581311464309692,
            1.078317642211914, 0.8008005619049072, 1.680620551109314, 0.3558599054813385, 1.2964228391647339,
            0.610466480255127, 1.334737777709961, -0.2316243201494217, 0.041759490966796875, -0.2515752911567688,
            0.859858512878418, -0.3097267746925354]
W = torch.tensor([0.1, 0.2, 0.3, 0.4])

# (what is drawn, the numbers after manual_seed(42)); the numbers of integers and of rand are exact.
STREAM = [
    ("torch.rand(5)", RAND),
    ("torch.rand(5, dtype=torch.float64)", [0.05815448596142969, 0.06291016742457756, 0.12358607277440903, 0.05258016436107704, 0.5261718968547618]),
    ("torch.rand(4, dtype=torch.float16)", [0.88232421875, 0.9150390625, 0.3828125, 0.95947265625]),
    ("torch.rand_like(torch.ones(3))", RAND[:3]),
    ("torch.randn(1)", RANDN[:1]),
    ("torch.randn(15)", RANDN),
    ("torch.randn(16)", RANDN_16),
    ("torch.randn(17)", RANDN_17),
    ("torch.randn(100)[[0, 1, 50, 98, 99]]", [1.9269152879714966, 1.4872840642929077, 0.07802387326955795, 0.3498677611351013, 0.6172807216644287]),
    ("torch.randn(3, dtype=torch.float64)", [0.33669035438385886, 0.1288094051365897, 0.23446236336153173]),
    ("torch.randn(17, dtype=torch.float64)[[0, 1, 7, 8, 15, 16]]",
     [0.2995562877502637, 1.504572275678796, 0.08948016046560357, 0.038435238263354446, 0.855215961472287, 0.2494118796915765]),
    ("torch.randn_like(torch.ones(3))", RANDN[:3]),
    ("torch.randint(0, 100, (8,))", [42, 67, 76, 14, 26, 35, 20, 24]),
    ("torch.randint(5, 9, (6,), dtype=torch.int32)", [7, 8, 5, 7, 7, 8]),
    ("torch.randint_like(torch.ones(4), 10)", [2, 7, 6, 4]),
    ("torch.randperm(10)", [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]),
    ("torch.randperm(1000)[:8]", [542, 618, 816, 68, 94, 215, 60, 585]),
    ("torch.bernoulli(torch.full((12,), 0.3))", [0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0]),
    ("torch.empty(12).bernoulli_(0.7)", [1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1]),
    ("torch.empty(5).uniform_(-3, 3)", [2.2936155796051025, 2.490023612976074, -0.702817440032959, 2.755833864212036, -0.6573107242584229]),
    ("torch.empty(5).normal_(1, 2)", [1.673380732536316, 1.25761878490448, 1.4689247608184814, 1.4606660604476929, -1.2457127571105957]),
    ("torch.normal(torch.arange(4.0), torch.tensor([1.0, 2.0, 0.5, 1.0]))", [0.33669036626815796, 1.25761878490448, 2.1172311305999756, 3.230333089828491]),
    ("torch.empty(5).exponential_(2.0)", [0.029957007616758347, 0.03248806297779083, 0.06595838814973831, 0.027006475254893303, 0.37345534563064575]),
    ("torch.empty(5, dtype=torch.int64).random_(10)", [2, 7, 6, 4, 6]),
    ("torch.empty(4).cauchy_()", [-5.412487506866455, -4.993700981140137, -2.4448742866516113, -5.9986395835876465]),
    ("torch.empty(4).log_normal_()", [5.330157279968262, 3.5170366764068604, 4.3445611000061035, 4.308828353881836]),
    ("torch.empty(6).geometric_(0.3)", [8, 8, 6, 9, 2, 3]),
    ("torch.poisson(torch.tensor([0.5, 3.0, 20.0, 100.0]))", [0, 1, 28, 87]),
    ("torch.binomial(torch.tensor([10.0, 20.0, 100.0]), torch.tensor([0.5, 0.1, 0.9]))", [2, 0, 90]),
    ("torch.multinomial(W, 1)", [3]),
    ("torch.multinomial(W, 3)", [3, 1, 2]),
    ("torch.multinomial(W, 10, replacement=True)", [0, 0, 1, 0, 2, 2, 3, 3, 0, 1]),
    ("torch.multinomial(torch.stack([W, W.flip(0)]), 2)", [[3, 1], [0, 1]]),
    ("F.dropout(torch.ones(12), 0.4)", [1 / 0.6] * 6 + [0] * 2 + [1 / 0.6] * 4),
    ("F.dropout2d(torch.ones(1, 6, 1, 1), 0.5).flatten()", [2, 2, 2, 2, 0, 2]),
    ("F.alpha_dropout(torch.ones(6), 0.5, training=True)", [1.6655988693237305] * 4 + [-0.7791939377784729, 1.6655988693237305]),
    ("F.gumbel_softmax(torch.zeros(4))", [0.28690075874328613, 0.2645491063594818, 0.13030469417572021, 0.31824544072151184]),
    ("F.rrelu(-torch.ones(4), training=True)", [-0.13711552321910858, -0.13810628652572632, -0.15074710547924042, -0.13595420122146606]),
    ("nn.init.trunc_normal_(torch.empty(5))", RANDN[:5]),
    ("nn.init.xavier_uniform_(torch.empty(2, 3))", [[0.8375100493431091, 0.9092281460762024, -0.25663265585899353], [1.0062882900238037, -0.24001595377922058, 0.22105063498020172]]),
    ("nn.init.kaiming_normal_(torch.empty(2, 3))", [[0.2749065160751343, 0.10517244040966034, 0.1914377212524414], [0.18806612491607666, -0.9168083667755127, -0.1521364152431488]]),
    ("nn.init.orthogonal_(torch.empty(2, 3))", [[0.7829482555389404, 0.29953664541244507, 0.545224666595459], [0.3815162479877472, -0.923473596572876, -0.04052146524190903]]),
    ("nn.Linear(3, 2).weight", [[0.4414065182209015, 0.47920528054237366, -0.1352572739124298], [0.5303604602813721, -0.1264995038509369, 0.11650390923023224]]),
    ("nn.Linear(3, 2).bias", [-0.28108587861061096, 0.3390677869319916]),
    ("nn.Conv2d(1, 1, 2).weight", [[[[0.3822692632675171, 0.4150039553642273], [-0.11713624000549316, 0.45930564403533936]]]]),
    ("nn.Embedding(2, 3).weight", [RANDN[:3], RANDN[3:6]]),
    ("nn.LSTM(1, 1).weight_hh_l0", [[-0.21910357475280762], [0.2017906904220581], [-0.48685503005981445], [0.587282657623291]]),
]


@pytest.mark.parametrize(("code", "want"), STREAM, ids=[s[0] for s in STREAM])
def test_stream(code, want):
    got = eval(code, {"torch": torch, "nn": nn, "F": F, "W": W})
    if got.dtype.is_floating_point and "rand(" not in code:
        close(got, want)
    else:
        assert got.tolist() == want


def test_large_integers_use_64_bits():
    assert torch.randint(-(2**40), 2**62, (3,)).tolist() == [2297357419978309043, 3702521140065178894, 4279529511849677895]


def test_draws_follow_each_other():
    """An odd normal draw leaves its twin for the next one."""
    got = [torch.rand(1).item(), torch.randn(1).item(), torch.randn(1).item(), float(torch.randint(10, (1,))), torch.rand(1).item()]
    np.testing.assert_allclose(got, [0.8822692632675171, -0.6381542086601257, 1.355437159538269, 5.0, 0.2565724849700928], atol=2e-6)


@pytest.mark.parametrize(("seed", "want", "initial"), [
    (0, [0.49625658988952637, 0.7682217955589294], 0),
    (-1, [0.9937993884086609, 0.5713063478469849], 2**64 - 1),
    (2**63, [0.49625658988952637, 0.7682217955589294], 2**63),
])
def test_seeds(seed, want, initial):
    torch.manual_seed(seed)
    assert torch.rand(2).tolist() == want
    assert torch.initial_seed() == initial


def test_generators_are_independent():
    g = torch.Generator().manual_seed(7)
    assert torch.rand(2, generator=g).tolist() == [0.5349225401878357, 0.19880318641662598]
    assert torch.randperm(5, generator=g).tolist() == [1, 3, 0, 4, 2]
    close(torch.randn(2, generator=g), [-1.251400113105774, -1.8840675354003906])
    assert g.initial_seed() == 7
    assert torch.rand(5).tolist() == RAND


def test_state_saved_and_restored():
    torch.randn(1)
    state = torch.get_rng_state()
    assert state.shape == (5056,)
    assert state.dtype == torch.uint8
    a = torch.randn(3).tolist()
    torch.set_rng_state(state)
    assert torch.randn(3).tolist() == a
    with torch.random.fork_rng():
        torch.rand(100)
    torch.set_rng_state(state)
    with torch.random.fork_rng():
        torch.manual_seed(1)
    assert torch.randn(3).tolist() == a
    g = torch.Generator()
    g.set_state(state)
    assert torch.randn(3, generator=g).tolist() == a
    with pytest.raises((RuntimeError, TypeError)):
        torch.set_rng_state(torch.zeros(3, dtype=torch.uint8))


def test_a_strided_target_is_filled_in_memory_order():
    flat = torch.rand(6)
    torch.manual_seed(42)
    t = torch.empty(3, 2).t()
    t.uniform_()
    assert t.t().reshape(-1).tolist() == flat.tolist()


def test_dataloader_shuffles_as_pytorch_does():
    loader = DataLoader(TensorDataset(torch.arange(10)), batch_size=4, shuffle=True)
    assert [b[0].tolist() for b in loader] == [[8, 0, 9, 1], [4, 5, 6, 3], [2, 7]]
    assert [b[0].tolist() for b in loader] == [[4, 6, 9, 3], [7, 5, 2, 0], [1, 8]]
    assert torch.rand(1).item() == 0.9407714605331421


def test_an_unshuffled_dataloader_draws_too():
    list(DataLoader(TensorDataset(torch.arange(4)), batch_size=4))
    assert torch.rand(1).item() == RAND[2]


def test_samplers():
    assert list(RandomSampler(range(8))) == [0, 2, 6, 4, 3, 7, 1, 5]
    assert list(RandomSampler(range(4), replacement=True, num_samples=6)) == [0, 1, 3, 3, 2, 0]
    assert list(WeightedRandomSampler([1, 2, 3.0], 5)) == [0, 0, 2, 1, 2]
    assert [s.indices for s in random_split(range(10), [7, 3])] == [[1, 5, 0, 9, 7, 6, 4], [3, 2, 8]]
    g = torch.Generator().manual_seed(3)
    assert [s.indices for s in random_split(range(10), [0.5, 0.5], generator=g)] == [[6, 0, 3, 7, 8], [5, 1, 9, 2, 4]]
    assert list(SubsetRandomSampler([5, 6, 7, 8])) == [8, 5, 6, 7]


def test_dropout_is_off_in_eval_and_scales_in_training():
    drop = nn.Dropout(0.25)
    x = torch.ones(10000)
    y = drop(x)
    assert set(y.tolist()) == {0.0, float(np.float32(4 / 3))}
    assert abs(float((y == 0).sum()) / 10000 - 0.25) < 0.02
    assert drop.eval()(x) is x or drop(x).tolist() == x.tolist()
    x.requires_grad_()
    drop.train()(x).sum().backward()
    assert set(x.grad.tolist()) == {0.0, float(np.float32(4 / 3))}


@pytest.mark.parametrize(("draw", "mean", "var"), [
    (lambda n: torch.rand(n), 0.5, 1 / 12),
    (lambda n: torch.randn(n), 0.0, 1.0),
    (lambda n: torch.empty(n).exponential_(0.5), 2.0, 4.0),
    (lambda n: torch.empty(n).geometric_(0.25), 4.0, 12.0),
    (lambda n: torch.poisson(torch.full((n,), 4.0)), 4.0, 4.0),
    (lambda n: torch.binomial(torch.full((n,), 20.0), torch.full((n,), 0.3)), 6.0, 4.2),
    (lambda n: torch.bernoulli(torch.full((n,), 0.2)), 0.2, 0.16),
    (lambda n: torch.randint(0, 12, (n,)).float(), 5.5, 143 / 12),
    (lambda n: torch.empty(n).log_normal_(0, 0.5), math.exp(0.125), (math.exp(0.25) - 1) * math.exp(0.25)),
], ids=["rand", "randn", "exponential", "geometric", "poisson", "binomial", "bernoulli", "randint", "log_normal"])
def test_moments(draw, mean, var):
    x = draw(40000).to(torch.float64)
    assert float(x.mean()) == pytest.approx(mean, abs=5 * math.sqrt(var / 40000))
    assert float(x.var()) == pytest.approx(var, rel=0.1)


@pytest.mark.parametrize(("code", "error", "text"), [
    ("torch.randint(5, 5, (1,))", RuntimeError, "random_ expects 'from' to be less than 'to', but got from=5 >= to=5"),
    ("torch.multinomial(torch.zeros(2, 2, 2), 1)", RuntimeError, "prob_dist must be 1 or 2 dim"),
    ("torch.multinomial(torch.tensor([0.5, -0.5]), 1)", RuntimeError, "probability tensor contains either `inf`, `nan` or element < 0"),
    ("torch.multinomial(torch.ones(2), 3)", RuntimeError, "cannot sample n_sample > prob_dist.size(-1) samples without replacement"),
    ("torch.bernoulli(torch.tensor([2.0]))", RuntimeError, "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error message be improved?  If so, please report an enhancement request to PyTorch.)"),
    ("torch.normal(0.0, -1.0, (2,))", RuntimeError, "normal expects std >= 0.0, but found std -1"),
    ("torch.empty(2).exponential_(-1)", RuntimeError, "exponential_ expects lambda > 0.0, but found lambda=-1"),
    ("torch.empty(2).uniform_(1, 0)", RuntimeError, "uniform_ expects to return a [from, to) range, but found from=1 > to=0"),
    ("torch.randperm(-1)", RuntimeError, "Trying to create tensor with negative dimension -1: [-1]"),
    ("F.dropout(torch.ones(1), 2.0)", ValueError, "dropout probability has to be between 0 and 1, but got 2.0"),
], ids=str)
def test_errors(code, error, text):
    with pytest.raises(error) as caught:
        eval(code, {"torch": torch, "F": F})
    assert str(caught.value) == text


def test_other_generators_are_left_alone():
    random.seed(1)
    np.random.seed(1)
    state = random.getstate()
    torch.rand(10)
    torch.manual_seed(3)
    assert random.getstate() == state


def test_dropout_of_channels_without_a_batch():
    """dropout1d and dropout3d take the input as one sample: whole channels are kept or dropped."""
    for drop, shape in ((torch.nn.functional.dropout1d, (40, 3)), (torch.nn.functional.dropout3d, (40, 2, 2, 2))):
        torch.manual_seed(3)
        kept = drop(torch.ones(shape), 0.5).reshape(40, -1)
        assert bool((kept == kept[:, :1]).all())
        assert sorted(set(kept[:, 0].tolist())) == [0.0, 2.0]
    with pytest.raises(RuntimeError, match="dropout1d: Expected 2D or 3D input, but received a 4D input"):
        torch.nn.functional.dropout1d(torch.ones(2, 3, 4, 5))
