"""Questions about the passages of documents: made here, or by a language model behind an OpenAI-compatible address."""
