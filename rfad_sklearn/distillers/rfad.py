"""RFAD: dataset distillation by random feature approximation, and items for any model."""

import time
from dataclasses import replace
from numbers import Integral, Real

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from .._utils.docstrings import substitute
from .._utils.labels import label_array
from ..coreset import Coreset
from ._any_model import (
    any_model_objective,
    check_any_model,
    panel_members,
    plan_with_spacing,
    resolve_downstream,
)
from ._iterative import Start, continuation
from ._random_features import random_feature_objective, train_teacher
from ._ridge import RidgeDistiller
from ._starts import best_start

__all__ = ["RFADDistiller"]


@substitute
class RFADDistiller(RidgeDistiller):
    """Distil a labelled data set into a few synthetic rows per class.

    The items of ``fit`` are optimised such that kernel ridge regression on them, with the kernel of
    an infinitely wide random network, classifies the training rows. The kernel is estimated by
    random features of finite networks (RFAD, [1]_). Those of ``fit_resample`` are for any model:
    nearest neighbours, linear models, forests, networks.

    Parameters
    ----------
    %(ipc)s
    %(n_items)s
    downstream : {"auto", "nngp", "any"} or classifier, default="auto"
        What the items are for. "nngp": :class:`NNGPKernelRidge`. "any": any model; the losses of
        several cheap models that are fitted on the items are minimised, and a panel of
        scikit-learn's classifiers evaluates the held-out rows. A classifier: the same, evaluated by
        this one alone, which sees a column of zeros and ones for each category. "auto": "nngp" in
        ``fit``, "any" in ``fit_resample`` and ``as_sampler()``. See Notes for what each kind uses.
    %(architecture)s
    %(image_shape)s
    %(categorical_features)s
    %(missing)s
    preprocessing : {"auto", "standardize", "quantile", "zca"}, transformer or None, default="auto"
        What is applied before the network, and taken back in the coreset. "standardize": zero mean
        and unit variance per channel of images, per column of tables. "quantile", for tables: each
        column by a monotone map to normal scores, see :class:`QuantileNormalizer`; items then lie
        within its range. "auto": skewed columns of tables by quantiles, those of a skewness above 2
        and more than ten values, the others standardised; images standardised, and whitened along
        their 64 to 256 leading directions, the more gently the smaller they are and the fewer rows
        there are, and from 50 rows on. With ``corruption``, whose noise whitening would raise,
        "auto" is "standardize". "zca": whitened as in the literature, which makes large files.
        None: nothing. A transformer needs ``inverse_transform``.
    n_networks : int, default=8
        Random networks per step.
    pool_size : int or "auto", default="auto"
        The pool holds this many groups of ``n_networks`` networks and ``batch_size`` training rows,
        with the rows' activations cached; fewer, but at least one, where activations and weights
        would take more than 512 MB. Each step uses one group at random. "auto": 32,
        or 1. With 1 every step has fresh networks and rows, the paper's way (see Notes); otherwise
        the oldest group is replaced every ``batch_size / n_items`` steps, at least 4, at most 32.
    batch_size : int, default=1024
        Training rows per step.
    %(reg)s
    loss : {"cross_entropy", "mse"}, default="cross_entropy"
        "cross_entropy": cross entropy of ``logit_scale * scores`` with a learned scale; "mse":
        squared distance to the centred one-hot targets.
    %(class_weight)s
    %(learn_labels)s
    teacher : {"auto", "network"} or None, default="auto"
        Soft labels (knowledge distillation, [4]_). None: hard labels only. "network": a small
        convolutional network is trained first, on images moved by up to an eighth of their sides,
        for ten epochs (at least 200 steps) or a fifth of ``max_time``; its probabilities then stand
        for the labels. The run switches back to hard labels once the coreset predicts the held-out
        rows as well as the teacher does, or in the second half of the run nearly as well (a cross
        entropy at most 1.4 times its own); never without such rows. Images only. "auto": that, with
        fresh networks at every step (see Notes), ``max_time`` and held-out rows, where a fifth of
        the time is enough for five epochs and 200 steps; else None.
    augment : {"auto"}, bool or sequence of str, default="auto"
        Random changes of the training images, and of those of the teacher, as the network sees
        them. A sequence names some of "color", "crop", "cutout", "flip", "rotate" and "scale"; one
        of them is drawn for each group of rows. ``["flip"]`` flips half of the images left to
        right. True: any of the six. "auto": in long runs (see Notes) flips of the label-preserving
        classes, those that lose no more than about three in ten of the rows of a pilot sample (up
        to 2,048) that are recognised as they are; none with fewer than 200 rows, or with images
        above about 64x64 pixels. ``learn_labels="solve"`` takes rows as they are.
    init : str, Coreset or array of shape (n_items, ...), default="auto"
        %(init_words)s
        "auto": "random" for the NNGP; for any model "centroids", or those of ranks where X is a
        table and the panel prefers them; see :class:`CoresetSampler` for items beside the rows of
        other classes.
    corruption : float, default=0.0
        Share of the coordinates of each item, drawn once, that stay noise for good, at least 0 and
        below 1 ([1]_). Above 0 the items start as noise with the mean and variance of the data per
        channel or column (0 and 1 with ``preprocessing=None``), and ``init`` must be left alone or
        "noise". It hides what the rows look like; it is **no guarantee of privacy**.
    solver : {"auto", "muon", "adam"}, default="auto"
        How the items move. "muon": momentum whose steps are made orthogonal, so that what the
        gradients of all items have in common does not drown the rest ([2]_, [3]_). "adam": every
        entry by itself. "auto": "muon" for images, "adam" for flat rows and with ``corruption``.
        Scale and learned targets always take Adam's steps.
    learning_rate : float, default=0.03
        Step size in preprocessed units; decays linearly to zero over the budget. Muon's steps are
        scaled to the size of Adam's.
    max_iter : int, default=None
        Number of steps; None: 1000, or unbounded when ``max_time`` is set. For any model 300 passes
        over the rows of a table are enough, 600 of images, and at least 200 steps.
    %(max_time)s
    %(early_stopping)s
    %(scoring)s
    validation_fraction : float, default=0.1
        Share of the rows to hold out, at most about 2,048 rows (fewer for images from 48x48 pixels
        on, from 24x24 with two blocks).
    n_iter_no_change : int or "auto", default="auto"
        Evaluations without a better validation loss after which the end begins: the step size
        falls to zero over a quarter of the steps done, and ``fit`` stops. "auto": 100 for the NNGP,
        which ends long time budgets only; 5 for any model.
    eval_every : int or "auto", default="auto"
        Steps between evaluations. "auto": 50 for the NNGP, 100 for any model.
    %(tol)s
    %(callback)s
    %(checkpoint)s
    %(verbose)s
    %(random_state)s
    %(device)s
    %(dtype)s

    Attributes
    ----------
    %(coreset_)s
    %(plan_)s
    %(classes_)s
    %(run_attributes)s
    flipped_classes_ : array of shape (n_flipped,)
        Classes whose rows were flipped; empty where none were.
    teacher_score_ : float or None
        Accuracy of the teacher on the held-out rows; None without either.
    %(input_attributes)s

    See Also
    --------
    NNGPKernelRidge : Classifier to use with the coreset, in pipelines and grid searches.
    KIPDistiller : The same with exact kernels.
    CoresetDisplay : Picture of a coreset.

    Notes
    -----
    ``plan_`` says what was chosen, and why.

    *Items for any model* lie within the range of each column of X, and are integers where a column
    holds integers only; items for the NNGP leave that range, and lose accuracy when they are held
    in it. ``validation_score`` is then the mean accuracy of the panel, and ``validation_loss`` its
    mean error. Beside their labels they have ``coreset_.solved_targets``, the best targets of
    :class:`NNGPKernelRidge` (``fit_coreset``) on these items; with more than 10,000 items times
    classes they have not, for want of time.

    ======================================================  ======  =====
    parameter                                               "nngp"  "any"
    ======================================================  ======  =====
    ipc, n_items, class_weight, image_shape, init           yes     yes
    categorical_features, missing                           yes     yes
    batch_size, learning_rate                               yes     yes
    architecture, reg                                       yes     for the coreset's own classifier
    early_stopping, validation_fraction, n_iter_no_change   yes     yes
    scoring                                                 yes     mean of the panel
    max_iter, max_time, eval_every, tol, checkpoint         yes     yes
    preprocessing, n_networks, pool_size, loss              yes     no, warned of
    teacher, augment, solver                                yes     no, warned of
    learn_labels, corruption                                yes     refused
    ======================================================  ======  =====

    *Depth.* Networks with fewer blocks are less noisy and take less time. Where the depth is open,
    and images are large enough for three blocks, a pilot sample of up to 2,048 training rows
    classify each other, each by all the others, with the kernels of two random networks of three
    blocks and of two. The third block must classify three more of a hundred rows rightly, and more
    than by chance. It stays with fewer than 200 rows, and in images above about 64x64 pixels. On
    one CPU thread that takes about five seconds for images of 32x32 pixels.

    *Fresh networks.* "auto" does without a pool for a ConvNet with more than 200 items, and with 50
    items or more where ``max_time`` is long enough for about 400 steps of fresh networks, which is
    measured at the start. The items then fit no networks in particular, but each step costs several
    times as much. The blocks of these networks have 32, 64 and 256 channels, two of them 32 and
    128: much of the noise of a random kernel comes from the last block, whose maps are small and
    cost little. The last block has fewer, but at least 64, where a pool's memory asks for it.

    *Long runs.* ``max_time`` is enough for about 1,000 steps of networks twice as wide, and
    ``max_iter`` allows them. The run takes those, and flips: late in a run the noise of the
    networks, and memorised training rows, limit what is gained.

    References
    ----------
    .. [1] N. Loo, R. Hasani, A. Amini and D. Rus, "Efficient Dataset Distillation using Random
       Feature Approximation", NeurIPS 2022, Algorithm 1 and eq. 5.
    .. [2] K. Jordan, Y. Jin, V. Boza, J. You, F. Cesista, L. Newhouse and J. Bernstein, "Muon: An
       optimizer for hidden layers in neural networks", 2024.
    .. [3] J. Liu et al., "Muon is Scalable for LLM Training", 2025, section 2.2 (step size).
    .. [4] G. Hinton, O. Vinyals and J. Dean, "Distilling the Knowledge in a Neural Network", 2015.

    Examples
    --------
    >>> from rfad_sklearn import ConvNet, RFADDistiller
    >>> from rfad_sklearn.datasets import load_digits_images
    >>> X, y = load_digits_images()
    >>> distiller = RFADDistiller(
    ...     ipc=1, max_iter=20, architecture=ConvNet(width=32), random_state=0
    ... ).fit(X, y)
    >>> distiller.coreset_.images.shape
    (10, 8, 8)
    >>> distiller.transform(X[:5]).shape
    (5, 10)
    >>> distiller.plan_.pool_size
    32
    """

    _memory_levers = (
        "batch_size, n_networks, pool_size or the architecture's width (or use teacher=None)"
    )
    _selects_depth = True

    _parameter_constraints: dict = {
        **RidgeDistiller._parameter_constraints,
        "downstream": [StrOptions({"auto", "nngp", "any"}), HasMethods(["fit", "predict"])],
        "init": [StrOptions({"auto"}), *RidgeDistiller._parameter_constraints["init"]],
        "n_iter_no_change": [
            StrOptions({"auto"}),
            *RidgeDistiller._parameter_constraints["n_iter_no_change"],
        ],
        "eval_every": [StrOptions({"auto"}), *RidgeDistiller._parameter_constraints["eval_every"]],
        "corruption": [Interval(Real, 0, 1, closed="left")],
        "n_networks": [Interval(Integral, 1, None, closed="left")],
        "pool_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "solver": [StrOptions({"auto", "muon", "adam"})],
        "teacher": [None, StrOptions({"auto", "network"})],
        "augment": [StrOptions({"auto"}), "boolean", "array-like"],
    }

    def __init__(
        self,
        ipc=1,
        *,
        n_items=None,
        downstream="auto",
        architecture="auto",
        image_shape=None,
        categorical_features="from_dtype",
        missing="error",
        preprocessing="auto",
        n_networks=8,
        pool_size="auto",
        batch_size=1024,
        reg=5e-3,
        loss="cross_entropy",
        class_weight=None,
        learn_labels=False,
        teacher="auto",
        augment="auto",
        init="auto",
        corruption=0.0,
        solver="auto",
        learning_rate=0.03,
        max_iter=None,
        max_time=None,
        early_stopping="auto",
        scoring="auto",
        validation_fraction=0.1,
        n_iter_no_change="auto",
        eval_every="auto",
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
        self.downstream = downstream
        self.architecture = architecture
        self.image_shape = image_shape
        self.categorical_features = categorical_features
        self.missing = missing
        self.preprocessing = preprocessing
        self.n_networks = n_networks
        self.pool_size = pool_size
        self.batch_size = batch_size
        self.reg = reg
        self.loss = loss
        self.class_weight = class_weight
        self.learn_labels = learn_labels
        self.teacher = teacher
        self.augment = augment
        self.init = init
        self.corruption = corruption
        self.solver = solver
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

    def _resolved_downstream(self, resampling):
        return resolve_downstream(self.downstream, resampling)

    def _check_downstream(self, downstream, resampling):
        super()._check_downstream(downstream, resampling)
        if downstream == "any":
            check_any_model(self)

    def _choose_start(self, context):
        if isinstance(self.init, Coreset):
            lacks = (context.per_class > context.continued).any()
            # Beside rows that stay the best start is made of all items at once.
            chosen = lacks and context.downstream == "any" and not context.cross_fitted.any()
            others = best_start(context).init if chosen else "random"
            return continuation(self.init, context, others)
        if not (isinstance(self.init, str) and self.init == "auto"):
            return Start(self.init)
        if self.corruption:
            return Start("noise", "a share of each item stays noise")
        if context.downstream == "any":
            return best_start(context)
        return Start("random", "rows of each class")

    def _with_start(self, plan, start, context, variables):
        if isinstance(start.init, str):
            reasons = plan.reasons if start.why is None else {**plan.reasons, "init": start.why}
            plan = replace(plan, init=start.init, reasons=reasons)
        plan = super()._with_start(plan, start, context, variables)
        if context.downstream == "any":
            plan = plan_with_spacing(plan, context, variables["X"])
        return plan

    def _solved(self, run):
        return "solved_targets" if run.plan.solves_targets else super()._solved(run)

    def _divergence_advice(self):
        if self.plan_.downstream == "nngp":
            return super()._divergence_advice()
        return f"Lower learning_rate={self.learning_rate!r}."

    def _panel(self, n_items, pixels):
        return panel_members(self.downstream, n_items, pixels)

    def _make_objective(self, plan, context, generator):
        if context.downstream == "any":
            return any_model_objective(plan, context, self.reg, generator)
        return random_feature_objective(plan, context, self.reg, self.loss, generator)

    def _prepare(self, run):
        """Train the teacher whose soft labels the plan asks for."""
        plan, objective, context = run.plan, run.objective, run.context
        if not plan.soft_labels:
            return
        deadline = None if self.max_time is None else run.begin + self.max_time
        start = time.monotonic()
        objective.soft_labels = train_teacher(plan, context, objective, deadline)
        if self.verbose:
            result = objective.soft_labels or "of no use, hard labels count"
            print(f"teacher: {time.monotonic() - start:.1f} s | {result}")

    def _note(self, run):
        soft_labels = run.objective.soft_labels
        self.teacher_score_ = None if soft_labels is None else soft_labels.score
        self.flipped_classes_ = run.context.classes[list(run.plan.flipped_classes)]
        return {
            "teacher": soft_labels is not None,
            "teacher_score": self.teacher_score_,
            "flipped_classes": label_array(self.flipped_classes_).tolist(),
        }
