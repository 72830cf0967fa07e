"""The observation-only oracle: parser, transcript and rules of language, nothing that agents cannot see."""
