"""
Train a network on thirty images
================================

A coreset trains an ordinary network too: in this library, or in your own torch code.
"""

# %% Three digits per class, and a network trained on them by gradient descent. A thousand real
# rows, which the distiller has seen as well, choose the label scale and the step to keep.

from sklearn.model_selection import train_test_split

from rfad_sklearn import (
    ConvNet,
    CoresetSelector,
    FiniteNetworkClassifier,
    GradientMatchingDistiller,
    RFADDistiller,
)
from rfad_sklearn.datasets import load_digits_images

X, y = load_digits_images()
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

coresets = {
    "random rows": CoresetSelector(ipc=3, strategy="random", random_state=0),
    "k-means rows": CoresetSelector(ipc=3, strategy="kmeans", random_state=0),
    "RFAD": RFADDistiller(ipc=3, max_iter=200, random_state=0),
    "gradient matching (DC)": GradientMatchingDistiller(
        ipc=3, max_iter=100, architecture=ConvNet(width=64), batch_size=64, random_state=0
    ),
}
accuracies = {}
for name, maker in coresets.items():
    coresets[name] = maker.fit(X_train, y_train).coreset_
    network = FiniteNetworkClassifier(random_state=0).fit_coreset(coresets[name], X_train, y_train)
    accuracies[name] = network.score(X_test, y_test)
    print(f"{name}: test accuracy {accuracies[name]:.3f}, label scale {network.label_scale_:g}")

# %%

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(5, 2))
ax.barh(list(accuracies), list(accuracies.values()))
ax.invert_yaxis()
ax.set_xlabel("test accuracy of a network trained on 30 images")
figure.tight_layout()

# %%
# The images by gradient matching.

from rfad_sklearn import CoresetDisplay

CoresetDisplay.from_coreset(coresets["gradient matching (DC)"])

# %% In your own training loop: ``to_torch`` gives channels-first images and targets. With
# ``preprocess=True`` they are preprocessed; then new rows must be preprocessed in the same way.

import torch

coreset = coresets["RFAD"]
images, targets = coreset.to_torch(preprocess=True).tensors
torch.manual_seed(0)
own = torch.nn.Sequential(
    torch.nn.Conv2d(1, 64, 3, padding=1),
    torch.nn.ReLU(),
    torch.nn.AvgPool2d(2),
    torch.nn.Flatten(),
    torch.nn.Linear(1024, 10),
)
optimizer = torch.optim.SGD(own.parameters(), lr=0.02, momentum=0.9)
for _ in range(200):
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(own(images), targets).backward()
    optimizer.step()
rows = torch.tensor(
    coreset.preprocessing.apply(X_test.reshape(len(X_test), -1)), dtype=torch.float32
)
predicted = own(rows.reshape(-1, 1, 8, 8)).argmax(1).numpy()
print(f"a small network of one's own, on RFAD's thirty images: {(predicted == y_test).mean():.3f}")
