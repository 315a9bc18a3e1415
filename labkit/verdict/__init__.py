"""What a run proves: checkers, steady state, the result and its report."""
