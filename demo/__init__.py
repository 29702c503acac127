"""The page that tries a model in the browser, and the Space that serves it."""
