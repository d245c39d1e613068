"""From a question and a text to answers, and what runs the model."""
