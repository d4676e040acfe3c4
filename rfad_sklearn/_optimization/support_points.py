"""Points that have the distribution of some rows: support points (Mak and Joseph 2018)."""

import torch

# Steps, their first size in units of a column's deviation, and rows of a step.
_N_STEPS, _STEP_SIZE, _N_ROWS = 150, 0.05, 2048
# Distances of a step at most: of many points some move at a time.
_MOST_DISTANCES = 2**21


def support_points(rows, start, clip, project, generator):
    """Points with a small energy distance to rows, from a start among these.

    They say more of the rows than as many random ones, and are spread as these are: means of
    groups of rows lie too near to the middle.

    Parameters
    ----------
    rows : tensor of shape (n, d)
        Columns of about unit variance.
    start : tensor of shape (n_points, d)
    clip, project : callable
        Puts points within their bounds, and on their grid as well.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    tensor of shape (n_points, d)
    """
    points = start.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([points], lr=_STEP_SIZE)
    n_moved = min(len(points), max(_MOST_DISTANCES // (len(points) + _N_ROWS), 1))
    for step in range(_N_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = _STEP_SIZE * (1 - step / _N_STEPS)
        drawn = torch.randint(len(rows), (_N_ROWS,), generator=generator).to(rows.device)
        moved = torch.randperm(len(points), generator=generator)[:n_moved].to(rows.device)
        with torch.no_grad():
            seen = project(points.detach())
        # Where points may lie, with gradients as if they were not put there.
        own = points[moved] + (seen - points)[moved].detach()
        energy = torch.cdist(own, rows[drawn]).mean() - torch.cdist(own, seen).mean()
        optimizer.zero_grad()
        energy.backward()
        optimizer.step()
        with torch.no_grad():
            points.copy_(clip(points))
    return project(points.detach())
