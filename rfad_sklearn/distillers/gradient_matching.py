"""Gradient matching: dataset condensation (DC), and with siamese augmentation (DSA)."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from .._optimization.gradient_matching_objective import GradientMatchingObjective, MatchingConfig
from .._utils.docstrings import substitute
from ._evaluation import evaluation_objective
from ._iterative import BaseDistiller

__all__ = ["GradientMatchingDistiller"]


@substitute
class GradientMatchingDistiller(BaseDistiller):
    """Distil a labelled data set by matching the gradients of finite networks (DC and DSA).

    The items of each class are changed until they move a randomly drawn, briefly trained network in
    the same direction as the training rows of that class do (DC, [1]_), with augmentation (DSA,
    [2]_) or without. Meant for networks that are trained on the coreset; usually many times slower
    than :class:`RFADDistiller`.

    Parameters
    ----------
    %(ipc)s
    %(n_items)s
    architecture : {"auto"}, ConvNet or MLP, default="auto"
        Network whose gradients are matched. "auto": a :class:`ConvNet` of 128 channels for images,
        an :class:`MLP` of 256 units for flat rows.
    %(image_shape)s
    %(categorical_features)s
    %(missing)s
    preprocessing : {"auto", "standardize", "quantile", "zca"}, transformer or None, \
default="standardize"
        What is applied before the network, and taken back in the coreset, as in
        :class:`RFADDistiller`; the default is the papers' own.
    batch_size : int, default=256
        Training rows per class and step.
    reg : float, default=5e-3
        Ridge that the coreset is to be used with by kernel ridge regression.
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
    augment : {"auto"}, bool or sequence of str, default=False
        False is DC. True is DSA: rows and items pass through the same random change before
        gradients are taken, one of "color", "crop", "cutout", "flip", "rotate" and "scale"; a
        sequence names fewer. Flips and rotations are wrong for digits and letters. "auto": flips,
        of the label-preserving classes of a pilot sample (none with fewer than 200 rows).
    %(init)s
    learning_rate : float, default=0.03
        Step size of Adam in preprocessed units; decays linearly to zero over the budget. (The
        papers: gradient descent with momentum.)
    %(max_iter)s
    %(max_time)s
    early_stopping : bool or "auto", default=False
        Hold out training rows ("auto": where at least 100 would be) and keep the state from which
        kernel ridge regression predicts them best, which is not what gradient matching is for. With
        False the last state is kept.
    %(scoring)s
    validation_fraction : float, default=0.1
        Share of the rows to hold out, at most 2048 rows.
    %(n_iter_no_change)s
    %(eval_every)s
    %(tol)s
    %(callback)s
    %(checkpoint)s
    %(verbose)s
    %(random_state)s
    %(device)s
    dtype : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        Arithmetic of the hidden layers for the training rows' gradients and for the network's own
        steps; the gradients that change the items are in float32 at least. "auto" is bfloat16 for a
        ConvNet where the hardware is fast at it, else float32.

    Attributes
    ----------
    %(coreset_)s
    %(plan_)s
    %(classes_)s
    %(run_attributes)s
    %(input_attributes)s

    See Also
    --------
    RFADDistiller : Kernel ridge regression in place of gradients.
    FiniteNetworkClassifier : The classifier that these coresets are made for.

    References
    ----------
    .. [1] B. Zhao, K. R. Mopuri and H. Bilen, "Dataset Condensation with Gradient Matching", ICLR
       2021, Algorithm 1 and eq. 10.
    .. [2] B. Zhao and H. Bilen, "Dataset Condensation with Differentiable Siamese Augmentation",
       ICML 2021, Algorithm 1.

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
        n_items=None,
        architecture="auto",
        image_shape=None,
        categorical_features="from_dtype",
        missing="error",
        preprocessing="standardize",
        batch_size=256,
        reg=5e-3,
        norm="auto",
        network_life="auto",
        network_steps="auto",
        network_learning_rate=0.01,
        augment=False,
        init="random",
        learning_rate=0.03,
        max_iter=None,
        max_time=None,
        early_stopping=False,
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
        self.architecture = architecture
        self.image_shape = image_shape
        self.categorical_features = categorical_features
        self.missing = missing
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.reg = reg
        self.norm = norm
        self.network_life = network_life
        self.network_steps = network_steps
        self.network_learning_rate = network_learning_rate
        self.augment = augment
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

    def _make_objective(self, plan, context, generator):
        data, flipped = context.training_data, plan.flipped_classes
        config = MatchingConfig(
            batch_size=plan.batch_size,
            network_life=plan.network_life,
            network_steps=plan.network_steps,
            network_learning_rate=self.network_learning_rate,
            instance_norm=plan.instance_norm,
            augmentations=plan.augmentations,
            flipped=() if len(flipped) == len(context.classes) else flipped,
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
        return (
            f"Lower learning_rate={self.learning_rate!r} or "
            f"network_learning_rate={self.network_learning_rate!r}."
        )
