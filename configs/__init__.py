"""Settings of the commands: what there is (`schema`), its values (YAML), and how to put them together."""
