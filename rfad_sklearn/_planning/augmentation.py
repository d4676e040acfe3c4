"""What a user's ``augment`` means: the same in every estimator."""

from .._networks.augment import check_augment
from .flip_selection import select_flipped_classes


def is_image(shape):
    """Whether inputs are images of more than one row and column of pixels."""
    return len(shape) == 3 and min(shape[:2]) > 1


def resolve_augmentation(draft, parameters, context, *, why_not=None):
    """Decide about the random changes of images.

    Parameters
    ----------
    draft : Draft
    parameters : dict
    context : FitContext or RowsContext
    why_not : str, optional
        Why "auto" changes nothing, whatever the rows are.
    """
    augment = parameters["augment"]
    if not isinstance(augment, str):
        names = check_augment(augment, context.shape)
        flipped = tuple(range(len(context.classes))) if names == ("flip",) else ()
        draft.decide("augmentations", names)
        draft.decide("flipped_classes", flipped)
        return
    flipped, why = (), why_not
    if not is_image(context.shape):
        why = None
    elif why_not is None:
        flipped, why = select_flipped_classes(context)
    draft.decide("augmentations", ("flip",) if flipped else (), why)
    draft.decide("flipped_classes", flipped)
