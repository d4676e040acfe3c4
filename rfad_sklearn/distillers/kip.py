"""KIP: dataset distillation by kernel inducing points, with exact kernels."""

import torch
from sklearn.utils._param_validation import Options, StrOptions

from .._optimization.exact_kernel_objective import ExactKernelObjective
from .._optimization.ridge_objective import RidgeConfig
from .._utils.docstrings import substitute
from ._ridge import RidgeDistiller

__all__ = ["KIPDistiller"]


@substitute
class KIPDistiller(RidgeDistiller):
    """Distil a labelled data set into a few synthetic rows per class, by kernel inducing points.

    The coreset is optimised such that kernel ridge regression on it, with the exact kernel of an
    infinitely wide network, classifies the training rows (KIP, [1]_). A step costs far more than
    one of :class:`RFADDistiller`, above all for images: it is here for small images, tables and
    comparisons.

    Parameters
    ----------
    %(ipc)s
    %(n_items)s
    kernel : {"ntk", "nngp"}, default="ntk"
        Neural tangent kernel, as in the paper, or the kernel of the untrained network.
    %(architecture)s
    %(image_shape)s
    %(categorical_features)s
    %(missing)s
    %(preprocessing)s
    batch_size : int, default=512
        Training rows per step, fresh ones each time.
    %(reg)s
    loss : {"cross_entropy", "mse"}, default="mse"
        "cross_entropy": cross entropy of ``logit_scale * scores`` with a learned scale; "mse":
        squared distance to the centred one-hot targets.
    %(class_weight)s
    %(learn_labels)s
    %(init)s
    learning_rate : float, default=0.03
        Step size of Adam in preprocessed units; decays linearly to zero over the budget.
    %(max_iter)s
    %(max_time)s
    %(early_stopping)s
    %(scoring)s
    validation_fraction : float, default=0.1
        Share of the rows to hold out, at most 512 rows.
    %(n_iter_no_change)s
    %(eval_every)s
    %(tol)s
    %(callback)s
    %(checkpoint)s
    %(verbose)s
    %(random_state)s
    %(device)s
    dtype : {"auto", "float32", "float64"}, default="auto"
        Arithmetic of the kernel; "auto" is float32.

    Attributes
    ----------
    %(coreset_)s
    %(plan_)s
    %(classes_)s
    %(run_attributes)s
    %(input_attributes)s

    See Also
    --------
    RFADDistiller : The same with random features, many times faster.
    NNGPKernelRidge : Classifier to use with the coreset; give it the same ``kernel``.

    References
    ----------
    .. [1] T. Nguyen, Z. Chen and J. Lee, "Dataset Meta-Learning from Kernel Ridge-Regression", ICLR
       2021, Algorithm 1; T. Nguyen, R. Novak, L. Xiao and J. Lee, "Dataset Distillation with
       Infinitely Wide Convolutional Networks", NeurIPS 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from rfad_sklearn import KIPDistiller, NNGPKernelRidge
    >>> X, y = load_iris(return_X_y=True)
    >>> distiller = KIPDistiller(ipc=2, loss="cross_entropy", max_iter=30, random_state=0).fit(X, y)
    >>> bool(NNGPKernelRidge(kernel="ntk").fit_coreset(distiller.coreset_).score(X, y) > 0.9)
    True
    """

    _parameter_constraints: dict = {
        **RidgeDistiller._parameter_constraints,
        "kernel": [StrOptions({"ntk", "nngp"})],
        "dtype": [
            StrOptions({"auto", "float32", "float64"}),
            Options(torch.dtype, {torch.float32, torch.float64}),
        ],
    }
    _max_held_out = 512
    _reduces_precision = False
    _transform_method = "exact"

    def __init__(
        self,
        ipc=1,
        *,
        n_items=None,
        kernel="ntk",
        architecture="auto",
        image_shape=None,
        categorical_features="from_dtype",
        missing="error",
        preprocessing="auto",
        batch_size=512,
        reg=5e-3,
        loss="mse",
        class_weight=None,
        learn_labels=False,
        init="random",
        learning_rate=0.03,
        max_iter=None,
        max_time=None,
        early_stopping="auto",
        scoring="auto",
        validation_fraction=0.1,
        n_iter_no_change=100,
        eval_every=50,
        tol=1e-4,
        callback=None,
        checkpoint=None,
        verbose=0,
        random_state=None,
        device="auto",
        dtype="auto",
    ):
        self.ipc = ipc
        self.n_items = n_items
        self.kernel = kernel
        self.architecture = architecture
        self.image_shape = image_shape
        self.categorical_features = categorical_features
        self.missing = missing
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.reg = reg
        self.loss = loss
        self.class_weight = class_weight
        self.learn_labels = learn_labels
        self.init = init
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_time = max_time
        self.early_stopping = early_stopping
        self.scoring = scoring
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.eval_every = eval_every
        self.tol = tol
        self.callback = callback
        self.checkpoint = checkpoint
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
        self.dtype = dtype

    @property
    def _kernel(self):
        return self.kernel

    def _make_objective(self, plan, context, generator):
        return ExactKernelObjective(
            plan.architecture,
            context.training_data,
            RidgeConfig(batch_size=plan.batch_size, reg=self.reg, loss=self.loss),
            kernel=plan.kernel,
            compiled=plan.compiled,
            generator=generator,
            device=context.device,
            project=context.project,
        )
