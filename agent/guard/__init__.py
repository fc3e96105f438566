"""Hold changes that exceed a limit. Pure: a plan, a policy and a history in, a plan with holds out; no off switch."""
