"""`MICEEditTools-v0`: the same sessions for agents that choose editing operations instead of drawing pictures."""
