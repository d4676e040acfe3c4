"""KIP: dataset distillation by kernel inducing points, with exact kernels."""

import torch
from sklearn.utils._param_validation import Options, StrOptions

from .._kernels.exact import exact_kernel
from .._optimization.exact_kernel_objective import ExactKernelObjective
from .._optimization.ridge_objective import RidgeConfig
from .._ridge.linalg import inverse_square_root
from .._ridge.models import ExactModel, exact_inputs
from ._iterative import RidgeDistiller

__all__ = ["KIPDistiller"]


class KIPDistiller(RidgeDistiller):
    """Distil a labelled data set into a few synthetic rows per class, by kernel inducing points.

    The coreset is optimised such that kernel ridge regression on it, with the exact kernel of an
    infinitely wide network, classifies the training rows (KIP, [1]_). A step costs far more than
    one of :class:`RFADDistiller`, above all for images: it is here for small images, tables and
    comparisons.

    Parameters
    ----------
    ipc : int or dict, default=1
        Items per class; a dict of label to int names every class.
    kernel : {"ntk", "nngp"}, default="ntk"
        Neural tangent kernel, as in the paper, or the kernel of the untrained network.
    architecture : {"auto"}, ConvNet or MLP, default="auto"
        Network whose kernel is used. "auto": a :class:`ConvNet` for images (3-d or 4-d X, or
        ``image_shape`` given; fewer pooling stages under 8x8 pixels), an :class:`MLP` for flat
        rows.
    image_shape : tuple (H, W) or (H, W, channels), default=None
        Shape of the images when X holds them as flat rows.
    reg : float, default=5e-3
        Ridge, relative to the mean diagonal of the kernel matrix.
    loss : {"cross_entropy", "mse"}, default="mse"
        "cross_entropy": cross entropy of ``logit_scale * scores`` with a learned scale; "mse":
        squared distance to the centred one-hot targets.
    learn_labels : bool or "solve", default=False
        True: optimise the targets along with the items. "solve": fit them once at the end on
        training rows (8 batches, or 8 rows per item where that is more), as the convex problem that
        they are for fixed items, pulled towards the centred one-hot labels as strongly as the
        held-out rows ask for.
    init : {"random", "kmeans", "herding", "kcenter", "noise"} or array of shape (n_items, ...), default="random"
        Where the items start: rows of each class, chosen as by :class:`CoresetSelector`; white
        noise; or given items in the units of X, class by class.
    preprocessing : {"auto", "standardize", "zca"}, transformer or None, default="auto"
        What is applied before the network, and taken back in the coreset. "standardize": zero mean
        and unit variance per channel of images, per column of tables. "auto": the same for tables;
        images are whitened as well along their 64 to 256 leading directions, the more gently the
        smaller they are and the fewer rows there are, and from 50 rows on. "zca": whitened as in
        the literature, which makes large files. None: nothing. A transformer needs
        ``inverse_transform``.
    batch_size : int, default=512
        Training rows per step, fresh ones each time.
    learning_rate : float, default=0.03
        Step size of Adam in preprocessed units; decays linearly to zero over the budget.
    max_iter : int, default=None
        Number of steps; None: 1000, or unbounded when ``max_time`` is set.
    max_time : float, default=None
        Seconds for the whole of ``fit``.
    early_stopping : bool or "auto", default="auto"
        True: hold out training rows, keep the state that predicts them best, and stop when it no
        longer changes. "auto" does so where at least 100 rows would be held out: fewer choose by
        chance, and are better trained on. Otherwise, or where no class can spare a row, the last
        state is kept.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, at most 512 rows.
    n_iter_no_change : int, default=100
        Evaluations without a better validation loss after which the end begins: the step size falls
        to zero over a quarter of the steps done, and ``fit`` stops. The default cannot be reached
        within the default number of steps; it ends long time budgets.
    eval_every : int, default=50
        Steps between evaluations.
    tol : float, default=1e-4
        Improvement of the validation loss that counts as one.
    callback : callable, default=None
        Called as ``callback(state)`` at every evaluation with a :class:`DistillationState`; returns
        True to stop.
    checkpoint : str or path-like, default=None
        File that is written at every evaluation, whole or not at all, with everything that the run
        needs to go on. Where the file is there already and of the same run, ``fit`` goes on from it:
        with the same parameters, data, versions and number of threads, and ``max_time=None``, the
        coreset has the same bits (on the CPU) as that of a run that was never cut off. ``max_iter``,
        ``max_time`` and ``n_iter_no_change`` may be raised. A file of another run is refused.
    verbose : int, default=0
        Print one line per evaluation.
    random_state : int, RandomState instance or None, default=None
        Seed of everything random. With the same seed, versions, machine and number of threads, and
        ``max_time=None``, the coreset has the same bits on the CPU.
    device : str or torch.device, default="auto"
        Where to compute; "auto" is CUDA if there is one, else the CPU.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Arithmetic of the kernel; "auto" is float32.

    Attributes
    ----------
    coreset_ : Coreset
        The distilled items, in the units of X.
    classes_ : array of shape (n_classes,)
        Class labels.
    n_iter_ : int
        Steps done.
    history_ : list of dict
        One record per evaluation, with the keys "step", "seconds", "loss", "validation_score" and
        "validation_loss".
    loss_curve_ : list of float
        Mean training loss up to each evaluation; the first is the initial one.
    validation_scores_ : list of float, or None
        Accuracy on the held-out rows at each evaluation.
    best_validation_score_ : float or None
        Accuracy of the state that was kept, the one with the lowest cross entropy on the held-out
        rows.
    stop_reason_ : str
        "max_iter", "max_time", "no_change", "callback", "interrupted" or "diverged".
    image_shape_ : tuple (H, W, channels) or None
        Shape of one image.
    n_features_in_ : int
        H x W x channels, or the number of columns.
    feature_names_in_ : array of shape (n_features,)
        Column names, when X is a data frame with string names.

    See Also
    --------
    RFADDistiller : The same with random features, many times faster.
    NNGPKernelRidge : Classifier to use with the coreset; give it the same ``kernel``.

    References
    ----------
    .. [1] T. Nguyen, Z. Chen and J. Lee, "Dataset Meta-Learning from Kernel Ridge-Regression", ICLR 2021, Algorithm 1; T. Nguyen, R.
       Novak, L. Xiao and J. Lee, "Dataset Distillation with Infinitely Wide Convolutional
       Networks", NeurIPS 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from rfad_sklearn import KIPDistiller, NNGPKernelRidge
    >>> X, y = load_iris(return_X_y=True)
    >>> coreset = KIPDistiller(ipc=2, loss="cross_entropy", max_iter=30, random_state=0).fit(X, y).coreset_
    >>> bool(NNGPKernelRidge(kernel="ntk").fit_coreset(coreset).score(X, y) > 0.9)
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

    def __init__(
        self,
        ipc=1,
        *,
        kernel="ntk",
        architecture="auto",
        image_shape=None,
        reg=5e-3,
        loss="mse",
        learn_labels=False,
        init="random",
        preprocessing="auto",
        batch_size=512,
        learning_rate=0.03,
        max_iter=None,
        max_time=None,
        early_stopping="auto",
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
        self.kernel = kernel
        self.architecture = architecture
        self.image_shape = image_shape
        self.reg = reg
        self.loss = loss
        self.learn_labels = learn_labels
        self.init = init
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_time = max_time
        self.early_stopping = early_stopping
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

    def _transform_model(self, inputs):
        spec, kernel = self.coreset_.architecture, self.coreset_.kernel
        gram = exact_kernel(spec, exact_inputs(spec, inputs), kernel=kernel)
        return ExactModel.build(spec, kernel, inputs, inverse_square_root(gram, self.coreset_.reg))
