"""The variational auto-encoder of pytorch/examples: torchvision's MNIST, a DataLoader, the loss read at every step.

With the model, the optimizer and the batch that all peers share in place of its own.
"""

import time

import torch
from common import Arguments, Result, finish, torchvision_mnist
from plain_pytorch import VAE
from torch.utils.data import DataLoader


def main(a: Arguments) -> Result:
    torch.manual_seed(a.seed)
    train, test = torchvision_mnist(a)
    loader = DataLoader(train, batch_size=a.batch, shuffle=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = VAE(784, a.hidden, a.latent).to(device)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=a.lr)
    seen, total, start = 0, 0.0, time.perf_counter()
    while seen < a.samples:
        model.train()
        for x, _ in loader:
            x = x.flatten(1).to(device)
            optimizer.zero_grad()
            loss = model(x, torch.randn(1, len(x), a.latent, device=device))
            loss.backward()
            total += loss.item()
            optimizer.step()
            seen += len(x)
            if seen >= a.samples:
                break
    seconds = time.perf_counter() - start
    model.eval()
    with torch.no_grad():
        batches = [x.flatten(1).to(device) for x, _ in DataLoader(test, 1000)]
        elbos = [-float(model(x, torch.randn(1, len(x), a.latent, device=device))) for x in batches]
    return Result(seen / seconds, sum(elbos) / len(elbos))


if __name__ == "__main__":
    finish(main)
