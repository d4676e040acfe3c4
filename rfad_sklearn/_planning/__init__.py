"""What every "auto" becomes, and why: the plan of a fit, made before its first step."""
