"""Edit-R2 (arXiv 2606.05950): rollouts of whole sessions, advantages, filter and the joint update."""
