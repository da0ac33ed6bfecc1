"""A network trained here and by NumPy code written out by hand: the same losses and weights."""

import numpy as np

import rustgrad as torch
from rustgrad import nn


def spirals(n=60, seed=0):
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 3
    radius = rng.uniform(0.1, 1, n)
    angle = 4 * radius + label * 2 * np.pi / 3
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), label


def by_hand(params, x, y, steps, lr, momentum):
    """Two layers of tanh and a cross entropy: forward, backward and SGD with momentum."""
    params = [p.copy() for p in params]
    speed = [np.zeros_like(p) for p in params]
    losses = []
    for _ in range(steps):
        w1, b1, w2, b2, w3, b3 = params
        h1 = np.tanh(x @ w1.T + b1)
        h2 = np.tanh(h1 @ w2.T + b2)
        z = h2 @ w3.T + b3
        e = np.exp(z - z.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
        losses.append(-np.log(p[np.arange(len(y)), y]).mean())
        dz = p.copy()
        dz[np.arange(len(y)), y] -= 1
        dz /= len(y)
        d2 = dz @ w3 * (1 - h2 * h2)
        d1 = d2 @ w2 * (1 - h1 * h1)
        grads = [d1.T @ x, d1.sum(0), d2.T @ h1, d2.sum(0), dz.T @ h2, dz.sum(0)]
        speed = [momentum * v + g for v, g in zip(speed, grads)]
        params = [q - lr * v for q, v in zip(params, speed)]
    return losses, params


def train(net, x, y, steps, lr, momentum):
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum)
    criterion = nn.CrossEntropyLoss()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


def test_fifty_steps_agree_with_numpy():
    x, y = spirals()
    net = network()
    start = [p.detach().double().numpy() for p in net.parameters()]
    want, weights = by_hand(start, x.astype(np.float32).astype(np.float64), y, 50, 0.1, 0.9)
    got = train(net, torch.tensor(x, dtype=torch.float32), torch.tensor(y), 50, 0.1, 0.9)
    np.testing.assert_allclose(got, want, atol=1e-4)
    for p, w in zip(net.parameters(), weights):
        np.testing.assert_allclose(p.detach().numpy(), w, atol=1e-4)
    assert got[-1] < 0.7 * got[0]


def test_double_precision_agrees_to_rounding():
    x, y = spirals()
    net = network().double()
    want, _ = by_hand([p.detach().numpy() for p in net.parameters()], x, y, 50, 0.1, 0.9)
    np.testing.assert_allclose(train(net, torch.tensor(x), torch.tensor(y), 50, 0.1, 0.9), want, rtol=1e-11)


def test_the_same_seed_gives_the_same_bits():
    x, y = spirals()
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    threads = torch.get_num_threads()
    try:
        runs = []
        for n in (1, 1, 3):
            torch.set_num_threads(n)
            net = network()
            train(net, x, y, 20, 0.1, 0.9)
            runs.append([p.tolist() for p in net.parameters()])
    finally:
        torch.set_num_threads(threads)
    assert runs[0] == runs[1] == runs[2]


def test_a_convolutional_network_learns():
    """Bars in four directions; dropout, batch norm, pooling, Adam and a schedule together."""
    rng = np.random.default_rng(1)
    label = np.arange(80) % 4
    x = rng.normal(0, 0.3, (80, 1, 8, 8))
    for i, k in enumerate(label):
        at = rng.integers(1, 7)
        if k == 0:
            x[i, 0, at] += 1.5
        elif k == 1:
            x[i, 0, :, at] += 1.5
        else:
            x[i, 0, np.arange(8), np.arange(8)[:: 1 if k == 2 else -1]] += 1.5
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1), nn.Flatten(), nn.Linear(128, 4))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    images, target = torch.tensor(x, dtype=torch.float32), torch.tensor(label)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), target).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    net.eval()
    with torch.no_grad():
        assert (net(images).argmax(1) == target).float().mean().item() > 0.95


def test_an_lstm_learns_to_remember_its_first_input():
    torch.manual_seed(2)
    rnn, head = nn.LSTM(1, 8, batch_first=True), nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=0.03)
    x = torch.randint(0, 2, (32, 6, 1)).float()
    first = last = None
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(head(rnn(x)[0][:, -1]), x[:, 0])
        loss.backward()
        optimizer.step()
        first, last = first or loss.item(), loss.item()
    assert first > 0.6
    assert last < 0.1
