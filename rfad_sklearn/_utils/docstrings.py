"""Passages that docstrings share, and the decorator that puts them in."""

# Where items start, in all distillers.
_INIT = """\
Where the items start. "random", "kmeans", "herding", "kcenter", "centroids": rows of each
        class or means of them, chosen as by :class:`CoresetSelector`. "noise": white noise. An
        array: given items in the units of X, class by class. A :class:`Coreset` of such rows: its
        items, of the classes that its labels say, with targets that start afresh; where ``ipc`` (or
        ``n_items``) asks for more of a class, or y has a class that it lacks, the others start by
        default. More than are wanted are refused."""

# Each passage begins at the indentation of a parameter; ``%(name)s`` on a line stands for it.
PASSAGES = {
    "ipc": """ipc : int or dict, default=1
        Items per class; a dict of label to int names every class. A class with as many rows gives
        them as they are, where items start from rows; one with fewer too, with a warning.""",
    "n_items": """n_items : int, default=None
        Number of all items, in place of ``ipc``: as many of each class, and where a class has fewer
        rows it gives them all, and others get more. One per class at least.""",
    "class_weight": """class_weight : dict, "balanced" or None, default=None
        How much the rows of each class count, in the loss, where labels are solved for, and in the
        evaluation by held-out rows. "balanced": all classes count the same, ``n / (n_classes * rows
        of the class)`` per row. A dict of label to number; 1 for those that it does not name. Rows
        are drawn by these weights, so that rare classes are in every batch.""",
    "architecture": """architecture : {"auto"}, ConvNet or MLP, default="auto"
        Network whose kernel is used. "auto": a :class:`ConvNet` for images (3-d or 4-d X, or
        ``image_shape`` given), an :class:`MLP` for flat rows. Open fields of a network are filled
        in by ``fit``.""",
    "image_shape": """image_shape : tuple (H, W) or (H, W, channels), default=None
        Shape of the images when X holds them as flat rows.""",
    "categorical_features": """categorical_features : "from_dtype", array-like or None, \
default="from_dtype"
        Which columns of a table are categories: a mask, numbers of columns, or names of those of a
        data frame. "from_dtype": the columns of a data frame that are of a categorical type. Each
        item has exactly one of the categories that its class has shown; gaps are a category of
        their own. At most 1,000 in a column, each of which costs as much as a column of numbers.
        ``coreset_.X`` holds their numbers.""",
    "missing": """missing : {"error", "impute"}, default="error"
        What to do about gaps in columns of numbers. "error": refuse them. "impute": put the median
        of the column in their place, in rows that a sampler keeps as well.""",
    "classifier_missing": """missing : {"error", "impute"}, default="error"
        What to do about gaps in columns of numbers. "error": refuse them. "impute": put the median
        of the column in their place. A coreset, or a distiller, has its own.""",
    "reg": """reg : float, default=5e-3
        Ridge, relative to the mean diagonal of the kernel matrix.""",
    "learn_labels": """learn_labels : bool or "solve", default=False
        True: optimise the targets along with the items. "solve": fit them once at the end on
        training rows (8 batches, or 8 rows per item where that is more), as the convex problem
        that they are for fixed items, with the L2 penalty on their distance to the centred one-hot
        labels that predicts the held-out rows best.""",
    "init": f"""init : str, Coreset or array of shape (n_items, ...), default="random"
        {_INIT}""",
    "init_words": _INIT,
    "preprocessing": """preprocessing : {"auto", "standardize", "quantile", "zca"}, transformer \
or None, default="auto"
        What is applied before the network, and taken back in the coreset. "standardize": zero mean
        and unit variance per channel of images, per column of tables. "quantile", for tables: each
        column by a monotone map to normal scores, see :class:`QuantileNormalizer`; items then lie
        within its range. "auto": skewed columns of tables by quantiles, those of a skewness above 2
        and more than ten values, the others standardised; images standardised, and whitened along
        their 64 to 256 leading directions, the more gently the smaller they are and the fewer rows
        there are, and from 50 rows on. "zca": whitened as in the literature, which makes large
        files. None: nothing. A transformer needs ``inverse_transform``.""",
    "max_iter": """max_iter : int, default=None
        Number of steps; None: 1000, or unbounded when ``max_time`` is set.""",
    "max_time": """max_time : float, default=None
        Seconds for the whole of ``fit``.""",
    "early_stopping": """early_stopping : bool or "auto", default="auto"
        True: hold out training rows, keep the state that predicts them best, and stop when it no
        longer changes. "auto" does so where at least 100 rows would be held out: fewer choose by
        chance, and are better trained on. Otherwise, or where no class can spare a row, the last
        state is kept. Rows that are given as ``X_val`` take the place of those, however few.""",
    "scoring": """scoring : str or callable, default="auto"
        What held-out rows are scored by: which state is kept, early stopping and
        ``validation_scores_`` go by it. "auto": the held-out loss, and for any model the panel's
        mean accuracy. Else the name of a scorer of scikit-learn that needs no more than predictions
        or probabilities ("balanced_accuracy", "roc_auc", "neg_log_loss", "f1_macro"), or a callable
        ``scorer(estimator, X, y)``, with flat rows as X; for any model the mean over the panel,
        without those that lack what it needs. ``class_weight`` gives its ``sample_weight``. Without
        held-out rows it has no part.""",
    "n_iter_no_change": """n_iter_no_change : int, default=100
        Evaluations without a better validation loss after which the end begins: the step size
        falls to zero over a quarter of the steps done, and ``fit`` stops. The default cannot be
        reached within the default number of steps; it ends long time budgets.""",
    "eval_every": """eval_every : int, default=50
        Steps between evaluations.""",
    "tol": """tol : float, default=1e-4
        Improvement of the validation loss that counts as one.""",
    "callback": """callback : callable, default=None
        Called as ``callback(state)`` at every evaluation with a :class:`DistillationState`;
        returns True to stop.""",
    "checkpoint": """checkpoint : str or path-like, default=None
        File that is written at every evaluation, whole or not at all, with everything that the run
        needs to go on. Where the file is there already and of the same run, ``fit`` goes on from
        it: with the same parameters, data, versions and number of threads, and ``max_time=None``,
        the coreset has the same bits (on the CPU) as that of a run that was never cut off.
        ``max_iter``, ``max_time`` and ``n_iter_no_change`` may be raised. A file of another run is
        refused, never overwritten.""",
    "verbose": """verbose : int, default=0
        Above 0: print the plan with the expected time first, then one line per evaluation.""",
    "random_state": """random_state : int, RandomState instance or None, default=None
        Seed of everything random. With the same seed, versions, machine and number of threads, and
        ``max_time=None``, the coreset has the same bits on the CPU.""",
    "device": """device : str or torch.device, default="auto"
        Where to compute; "auto" is CUDA if there is one, else the CPU.""",
    "dtype": """dtype : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        Arithmetic of the networks in training. "auto": bfloat16 for ConvNets on hardware that is
        fast at it, else float32.""",
    "fit_parameters": """X : array of shape (n, d), (n, H, W) or (n, H, W, channels), or data frame
            Rows or channels-last images of any numeric type, in any units. A memory map is read in
            small parts.
        y : array of shape (n,)
            Labels: numbers or strings.""",
    "fit_raises": """Raises
        ------
        ValueError, TypeError
            For parameters and data that cannot be used; the message says what to change.

        Warns
        -----
        UserWarning
            When interrupted from the keyboard: the best coreset so far is kept. When a transformer
            as ``preprocessing`` does not take its own inverse back, and items were moved for it.
        ConvergenceWarning
            When the loss stopped being finite; the best coreset before that is kept.""",
    "coreset_": """coreset_ : Coreset
        The distilled items, in the units of X.""",
    "plan_": """plan_ : Plan
        What every "auto" became, and why; ``print(plan_)`` shows it.""",
    "classes_": """classes_ : array of shape (n_classes,)
        Class labels.""",
    "run_attributes": """n_iter_ : int
        Steps done.
    history_ : list of dict
        One record per evaluation, with the keys "step", "seconds", "loss", "validation_score" and
        "validation_loss".
    loss_curve_ : list of float
        Mean training loss up to each evaluation; the first is the initial one.
    validation_scores_ : list of float, or None
        Score on the held-out rows at each evaluation: accuracy, or what ``scoring`` says.
    best_validation_score_ : float or None
        Score of the state that was kept, the one with the lowest cross entropy on the held-out
        rows, or the best score by ``scoring``.
    stop_reason_ : str
        "max_iter", "max_time", "no_change", "callback", "interrupted" or "diverged".""",
    "input_attributes": """image_shape_ : tuple (H, W, channels) or None
        Shape of one image.
    n_features_in_ : int
        H x W x channels, or the number of columns.
    feature_names_in_ : array of shape (n_features,)
        Column names, when X is a data frame with string names.""",
    "classifier_architecture": """architecture : {"auto"}, ConvNet or MLP, default="auto"
        "auto": the coreset's own; without one a :class:`ConvNet` for images and an :class:`MLP` for
        flat rows. Open fields of a network are filled in by ``fit``.""",
    "classifier_image_shape": """image_shape : tuple (H, W) or (H, W, channels), default=None
        Shape of the images when X holds them as flat rows. None: the coreset's own, or that of
        X.""",
    "classifier_categorical_features": """categorical_features : "from_dtype", array-like or None, \
default="from_dtype"
        Which columns of a table are categories: a mask, numbers of columns, or names of those of a
        data frame. "from_dtype": the columns of a data frame that are of a categorical type. A
        category that was not there in ``fit`` counts as none. A coreset, or a distiller, has its
        own.""",
    "classifier_preprocessing": """preprocessing : {"auto", "standardize", "quantile", "zca"}, \
transformer or None, default="auto"
        "auto": the coreset's own; without one as in :class:`RFADDistiller`.""",
    "classifier_verbose": """verbose : int, default=0
        Above 0: print the plan first, then what is being done.""",
    "classifier_attributes": """coreset_ : Coreset
        The coreset it was fitted on, if any.
    architecture_ : ConvNetSpec or MLPSpec
        The network, with every field filled in.
    image_shape_ : tuple (H, W, channels) or None
        Shape of one image.
    n_features_in_ : int
        H x W x channels, or the number of columns.
    feature_names_in_ : array of shape (n_features,)
        Column names, when fitted on a data frame or on the coreset of one.""",
}


class Substitution:
    """Decorator that puts passages into the docstring of a class or function.

    Parameters
    ----------
    **passages : dict of str to str
        A docstring holds ``%(name)s`` where the passage of that name belongs.
    """

    def __init__(self, **passages):
        self.passages = passages

    def __call__(self, documented):
        """Put them in, and give the class or function back."""
        # Without docstrings (python -OO) there is nothing to do.
        if documented.__doc__ is not None:
            for name, passage in self.passages.items():
                documented.__doc__ = documented.__doc__.replace(f"%({name})s", passage)
        return documented


#: With the passages that estimators share.
substitute = Substitution(**PASSAGES)
