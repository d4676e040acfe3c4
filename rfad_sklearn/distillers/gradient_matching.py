"""Gradient matching: dataset condensation (DC) and its variant with differentiable siamese augmentation (DSA)."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from .._optimization.gradient_matching_objective import GradientMatchingObjective, MatchingConfig
from ._evaluation import evaluation_objective
from ._iterative import BaseDistiller

__all__ = ["GradientMatchingDistiller"]


class GradientMatchingDistiller(BaseDistiller):
    """Distil a labelled data set by matching the gradients of finite networks (DC and DSA).

    The items of each class are changed until they move a randomly drawn, briefly trained network in
    the same direction as the training rows of that class do (DC, [1]_), with augmentation (DSA,
    [2]_) or without. Meant for networks that are trained on the coreset; usually many times slower
    than :class:`RFADDistiller`.

    Parameters
    ----------
    ipc : int or dict, default=1
        Items per class; a dict of label to int names every class.
    augment : bool or sequence of str, default=False
        False is DC. True is DSA: rows and items pass through the same random change before
        gradients are taken, one of "color", "crop", "cutout", "flip", "rotate" and "scale"; a
        sequence names fewer. Flips and rotations are wrong for digits and letters.
    architecture : {"auto"}, ConvNet or MLP, default="auto"
        Network whose gradients are matched. "auto": a :class:`ConvNet` of 128 channels for images,
        an :class:`MLP` of 256 units for flat rows.
    image_shape : tuple (H, W) or (H, W, channels), default=None
        Shape of the images when X holds them as flat rows.
    norm : {"auto", "instance"} or None, default="auto"
        Instance normalisation in the network. "auto" has it for a ConvNet, as in the papers, where
        its smallest maps have at least 4x4 pixels; an MLP cannot have it.
    network_life : int or "auto", default="auto"
        Steps of the items until a new network is drawn. "auto": the papers' 1, 10 and 50 for 1, 10
        and 50 items per class.
    network_steps : int or "auto", default="auto"
        Steps of the network on the items between two steps of the items. "auto": the papers' 1, 50
        and 10.
    network_learning_rate : float, default=0.01
        Step size of the network.
    reg : float, default=5e-3
        Ridge that the coreset is to be used with by kernel ridge regression.
    init : {"random", "kmeans", "herding", "kcenter", "noise"} or array of shape (n_items, ...), default="random"
        Where the items start: rows of each class, chosen as by :class:`CoresetSelector`; white
        noise; or given items in the units of X, class by class.
    preprocessing : {"auto", "standardize", "zca"}, transformer or None, default="standardize"
        What is applied before the network, and taken back in the coreset, as in
        :class:`RFADDistiller`; the default is the papers' own.
    batch_size : int, default=256
        Training rows per class and step.
    learning_rate : float, default=0.03
        Step size of Adam in preprocessed units; decays linearly to zero over the budget. (The
        papers: gradient descent with momentum.)
    max_iter : int, default=None
        Number of steps; None: 1000, or unbounded when ``max_time`` is set.
    max_time : float, default=None
        Seconds for the whole of ``fit``.
    early_stopping : bool or "auto", default=False
        Hold out training rows ("auto": where at least 100 would be) and keep the state from which
        kernel ridge regression predicts them best, which is not what gradient matching is for. With
        False the last state is kept.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, at most 2048 rows.
    n_iter_no_change : int, default=100
        Evaluations without a better validation loss after which the end begins: the step size falls
        to zero over a quarter of the steps done, and ``fit`` stops.
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
        Seed of everything random.
    device : str or torch.device, default="auto"
        Where to compute; "auto" is CUDA if there is one, else the CPU.
    dtype : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        Arithmetic of the hidden layers for the training rows' gradients and for the network's own
        steps; the gradients that change the items are in float32 at least. "auto" is bfloat16 for a
        ConvNet where the hardware is fast at it, else float32.

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
        Mean distance of the gradients up to each evaluation; the first is the initial one.
    validation_scores_ : list of float, or None
        Accuracy of kernel ridge regression on the held-out rows at each evaluation.
    best_validation_score_ : float or None
        That of the state that was kept.
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
    RFADDistiller : Kernel ridge regression in place of gradients.
    FiniteNetworkClassifier : The classifier that these coresets are made for.

    References
    ----------
    .. [1] B. Zhao, K. R. Mopuri and H. Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021, Algorithm 1 and eq. 10.
    .. [2] B. Zhao and H. Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021, Algorithm 1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from rfad_sklearn import GradientMatchingDistiller
    >>> X, y = load_iris(return_X_y=True)
    >>> distiller = GradientMatchingDistiller(ipc=1, max_iter=20, random_state=0).fit(X, y)
    >>> distiller.loss_curve_[-1] < distiller.loss_curve_[0]
    True
    """

    _memory_levers = "batch_size or the architecture's width"

    _parameter_constraints: dict = {
        **BaseDistiller._parameter_constraints,
        "augment": [StrOptions({"auto"}), "boolean", "array-like"],
        "norm": [None, StrOptions({"auto", "instance"})],
        "network_life": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "network_steps": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "network_learning_rate": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        ipc=1,
        *,
        augment=False,
        architecture="auto",
        image_shape=None,
        norm="auto",
        network_life="auto",
        network_steps="auto",
        network_learning_rate=0.01,
        reg=5e-3,
        init="random",
        preprocessing="standardize",
        batch_size=256,
        learning_rate=0.03,
        max_iter=None,
        max_time=None,
        early_stopping=False,
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
        self.augment = augment
        self.architecture = architecture
        self.image_shape = image_shape
        self.norm = norm
        self.network_life = network_life
        self.network_steps = network_steps
        self.network_learning_rate = network_learning_rate
        self.reg = reg
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

    def _make_objective(self, plan, context, generator):
        data = context.training_data
        config = MatchingConfig(
            batch_size=plan.batch_size,
            network_life=plan.network_life,
            network_steps=plan.network_steps,
            network_rate=self.network_learning_rate,
            instance_norm=plan.instance_norm,
            augmentations=plan.augmentations,
        )
        return GradientMatchingObjective(
            context.spec,
            data,
            config,
            item_y_encoded=context.item_y_encoded,
            ridge=evaluation_objective(context, data, self.reg, generator),
            generator=generator,
            device=context.device,
            dtype=context.dtype,
        )

    def _divergence_advice(self):
        return f"Lower learning_rate={self.learning_rate!r} or network_learning_rate={self.network_learning_rate!r}."
