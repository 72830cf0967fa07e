"""`MICEEditTools-v0`: the same sessions for agents that choose operations and draw nothing."""
