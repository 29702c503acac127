"""The Gradio app, and what a Space of it needs."""
