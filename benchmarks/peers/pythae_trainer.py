"""pythae: its VAE, its BaseTrainer and its data sets, with the shared model as encoder and decoder."""

import tempfile
import time

import torch
from common import Arguments, Result, finish, images
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor, nn


class Encoder(BaseEncoder):
    """Mean and log-variance of q(z|x)."""

    def __init__(self, a: Arguments) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(784, a.hidden), nn.Linear(a.hidden, 2 * a.latent)

    def forward(self, x: Tensor) -> ModelOutput:
        mean, log_variance = self.head(torch.tanh(self.body(x.flatten(1)))).chunk(2, -1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """The mean of p(x|z)."""

    def __init__(self, a: Arguments) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(a.latent, a.hidden), nn.Linear(a.hidden, 784)

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.head(torch.tanh(self.body(z)))).view(-1, 1, 28, 28))


def main(a: Arguments) -> Result:
    torch.manual_seed(a.seed)
    train, test = (torch.from_numpy(x).unsqueeze(1).float() / 255 for x in images(a))
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=a.latent, reconstruction_loss="bce")
    model = VAE(config, Encoder(a), Decoder(a))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    epochs = max(1, round(a.samples / len(train)))
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs,
            per_device_train_batch_size=a.batch,
            optimizer_cls="Adagrad",
            optimizer_params=None,
            learning_rate=a.lr,
            train_dataloader_num_workers=0,
            seed=a.seed,
        )
        trainer = BaseTrainer(model, train_dataset=Images(train), training_config=settings)
        trainer.prepare_training()
        start = time.perf_counter()
        for epoch in range(1, epochs + 1):
            trainer.train_step(epoch)
        seconds = time.perf_counter() - start
    with torch.no_grad():
        device = next(model.parameters()).device
        losses = [float(model({"data": x}).loss) for x in test.to(device).split(1000)]
    return Result(epochs * len(train) / seconds, -sum(losses) / len(losses))


class Images(torch.utils.data.Dataset):
    """A data set of pythae: a dictionary for each image."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"data": self.x[index]}


if __name__ == "__main__":
    finish(main)
