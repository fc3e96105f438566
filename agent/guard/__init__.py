"""Hold what a plan does too much of. Pure: a plan, a policy and a history in, a plan with holds out; no off switch."""
