"""Policies whose pictures are made by others: files, a server, a pipeline of diffusers."""
