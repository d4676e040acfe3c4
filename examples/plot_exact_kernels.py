"""
Exact kernels of infinitely wide networks
=========================================

``nngp_kernel`` and ``ntk_kernel`` are kernels like those of ``sklearn.metrics.pairwise``, of images
or of rows; ``NNGPKernelRidge`` classifies with them, and ``KIPDistiller`` distils with them.
"""

from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from rfad_sklearn import ConvNet, KIPDistiller, NNGPKernelRidge
from rfad_sklearn.datasets import load_digits_images
from rfad_sklearn.kernels import nngp_kernel, ntk_kernel

X, y = load_digits_images()
X, X_test, y, y_test = train_test_split(
    X / 16, y, train_size=200, test_size=300, stratify=y, random_state=0
)

# %% A kernel matrix is a positive definite array for any kernel machine. Digits of the same kind
# are more alike than others.
network = ConvNet(depth=2)
K = nngp_kernel(X, architecture=network)
same = y[:, None] == y
print(f"mean kernel of two digits of the same kind: {K[same].mean():.3f}")
print(f"mean kernel of two digits of different kinds: {K[~same].mean():.3f}")

svm = SVC(kernel="precomputed", C=100).fit(K, y)
K_test = nngp_kernel(X_test, X, architecture=network)
print(f"SVM with the NNGP kernel: {svm.score(K_test, y_test):.3f}")

# %%
# The classifier takes care of preprocessing, ridge and probabilities.
for kernel in ("nngp", "ntk"):
    score = NNGPKernelRidge(kernel=kernel, kernel_method="exact").fit(X, y).score(X_test, y_test)
    print(f"kernel ridge with the {kernel.upper()} of all {len(X)} rows: {score:.3f}")

# %%
# KIP optimises two digits per class for the exact NTK: the same interface as ``RFADDistiller``.
distiller = KIPDistiller(
    ipc=2,
    architecture=network,
    max_iter=30,
    batch_size=100,
    loss="cross_entropy",
    random_state=0,
).fit(X, y)
clf = NNGPKernelRidge(kernel="ntk").fit_coreset(distiller.coreset_)
print(f"kernel ridge with the NTK of 20 distilled items: {clf.score(X_test, y_test):.3f}")
first = ntk_kernel(distiller.coreset_.images[:2], architecture=network)
print(f"NTK between the first of them: {first.round(2).tolist()}")
